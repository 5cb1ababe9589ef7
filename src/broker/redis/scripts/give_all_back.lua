-- Moves held messages back to the front of their lists, in the order of the tags, without sending them to anyone.
--
-- Only what looks exactly as kombu and we write it; the rest is left as it is and named in the reply. Stops early where there
-- are too many bytes.
-- KEYS: unacked, unacked_index. ARGV: key prefix, separator, tag prefix, how many bytes, number of priority steps, the steps,
-- the numbers of the tags. Returns {how many tags were looked at, how many messages were moved, number, number, ...}.
local find, sub = string.find, string.sub
local unacked, index = KEYS[1], KEYS[2]
local prefix, sep, tag_prefix, room, steps = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local MARK = ', "redelivered": true'

local function list_of(queue, priority)
  local step = ARGV[5 + steps]
  for i = 1, steps do
    if tonumber(ARGV[5 + i]) > priority then break end
    step = ARGV[5 + i]
  end
  if tonumber(step) == 0 then return prefix .. queue end
  return prefix .. queue .. sep .. step
end

-- Where a text is that is there exactly once from `from` on. A quote inside a JSON string has a backslash before it, so that
-- a text with `"name": ` in it can only be a name.
local function only(entry, text, from)
  local first, last = find(entry, text, from, true)
  if not first or find(entry, text, last, true) then return nil end
  return first, last
end

-- The list that an entry goes to, and what goes there; nil if it is anything but
-- [{"body": "..", "content-encoding": "..", "content-type": "..", "headers": {..}, "properties": {..}}, "", "<queue>"]
local function target(entry)
  if sub(entry, 1, 11) ~= '[{"body": "' then return nil end
  local body_end = find(entry, '"', 12, true)
  local _, headers = find(entry, '^", "content%-encoding": "[^"\\]*", "content%-type": "[^"\\]*", "headers": {', body_end or 0)
  if not headers then return nil end
  local headers_end, properties = only(entry, '}, "properties": {', headers)
  if not headers_end or headers_end == headers + 1 then return nil end
  if not only(entry, '"properties": {', headers) then return nil end
  local _, info = only(entry, '"delivery_info": {', properties)
  local _, info_end, mark = find(entry, '^"exchange": "[^"\\]*", "routing_key": "[^"\\]*"([^}]*)}', (info or 0) + 1)
  if not info or not info_end then return nil end
  local last = find(entry, '}, "", "', info_end, true)
  local _, _, queue = find(entry, '^}, "", "([^"\\]+)"%]$', last or 0)
  if not last or not queue then return nil end

  local priority = 0
  if find(entry, '"priority": ', properties, true) then
    local at, after = only(entry, '"priority": ', properties)
    local _, _, digits = find(entry, '^(%d+)[,}]', (after or 0) + 1)
    if not at or not digits then return nil end
    priority = math.min(tonumber(digits), 9)
  end
  local list = list_of(queue, priority)

  local is_marked = sub(entry, headers_end - #MARK, headers_end - 1) == MARK
  if is_marked and mark == MARK then return list, sub(entry, 2, last) end
  if mark ~= '' or find(sub(entry, headers, headers_end), '"redelivered"', 1, true) then return nil end
  return list, sub(entry, 2, headers_end - 1) .. MARK .. sub(entry, headers_end, info_end - 1) .. MARK .. sub(entry, info_end, last)
end

local fits = {}
local function is_list(key)
  if fits[key] == nil then
    local kind = redis.call('TYPE', key).ok
    fits[key] = kind == 'list' or kind == 'none'
  end
  return fits[key]
end

local rest, done, seen, moved, lists, order = {}, {}, 0, 0, {}, {}
for i = 6 + steps, #ARGV do
  if room < 0 then break end
  seen = seen + 1
  local tag = tag_prefix .. ARGV[i]
  local entry = redis.call('HGET', unacked, tag)
  local list, payload
  if entry then
    room = room - #entry
    list, payload = target(entry)
  end
  if not entry then
    done[#done + 1] = tag
  elseif list and is_list(list) then
    done[#done + 1] = tag
    moved = moved + 1
    if not lists[list] then
      lists[list] = {}
      order[#order + 1] = list
    end
    table.insert(lists[list], payload)
  else
    rest[#rest + 1] = tonumber(ARGV[i])
  end
end

if #done > 0 then
  -- Removed first: a script that has written may go on where there is no memory left.
  redis.call('HDEL', unacked, unpack(done))
  redis.call('ZREM', index, unpack(done))
  for _, list in ipairs(order) do redis.call('RPUSH', list, unpack(lists[list])) end
end
return {seen, moved, unpack(rest)}
