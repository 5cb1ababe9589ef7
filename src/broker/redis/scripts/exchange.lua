-- Removes what is settled, then takes messages and notes them as held: one round trip, nothing between pop and note.
--
-- KEYS: unacked, unacked_index, then the lists, priority-major and queue-minor.
-- ARGV: now, tag prefix, number of the first tag, how many to take, note? (1/0), one from each queue in turn? (1/0),
--       number of queues, number of settled tags, the JSON after the payload for each queue, the numbers of the settled tags.
-- Returns {complaint, queue, payload, queue, payload, ...}; the tags of the payloads follow each other.
local unacked, index = KEYS[1], KEYS[2]
local now, prefix, first = ARGV[1], ARGV[2], tonumber(ARGV[3])
local want, note, in_turn = tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6] == '1'
local queues, settled = tonumber(ARGV[7]), tonumber(ARGV[8])

if settled > 0 then
  local tags = {}
  for i = 1, settled do tags[i] = prefix .. ARGV[8 + queues + i] end
  -- The hash first: an index entry without a field is harmless, a field without an entry would stay for ever.
  redis.call('HDEL', unacked, unpack(tags))
  redis.call('ZREM', index, unpack(tags))
end

local out, taken, complaint = {''}, 0, ''
if want == 0 then return out end
if note then
  -- Fails here, before anything is taken, if these are not what they must be.
  redis.call('HEXISTS', unacked, '')
  redis.call('ZSCORE', index, '')
end

local fields, scores = {}, {}
local function keep(queue, payload)
  if note then
    local tag = prefix .. string.format('%.0f', first + taken)
    fields[#fields + 1] = tag
    fields[#fields + 1] = '[' .. payload .. ARGV[8 + queue]
    scores[#scores + 1] = now
    scores[#scores + 1] = tag
  end
  taken = taken + 1
  out[#out + 1] = queue
  out[#out + 1] = payload
end

-- An error must not end the script: what has been taken by then would be lost.
local function pop(key, count)
  local popped = redis.pcall('RPOP', key, count)
  if type(popped) ~= 'table' then return {} end
  if popped.err then
    complaint = key .. ': ' .. popped.err
    return {}
  end
  return popped
end

for step = 2, #KEYS - queues, queues do
  if in_turn and queues > 1 then
    local some = true
    while some and taken < want do
      some = false
      for queue = 1, queues do
        if taken >= want then break end
        for _, payload in ipairs(pop(KEYS[step + queue], 1)) do
          keep(queue, payload)
          some = true
        end
      end
    end
  else
    for queue = 1, queues do
      if taken >= want then break end
      for _, payload in ipairs(pop(KEYS[step + queue], want - taken)) do keep(queue, payload) end
    end
  end
end

if #fields > 0 then
  redis.call('HSET', unacked, unpack(fields))
  redis.call('ZADD', index, unpack(scores))
end
out[1] = complaint
return out
