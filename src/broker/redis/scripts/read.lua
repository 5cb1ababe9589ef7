-- Reads held messages again and makes them young, so that nobody takes them back before they are run.
--
-- KEYS: unacked, unacked_index. ARGV: now, tag prefix, how many bytes at most, the numbers of the tags.
-- Returns the entries in this order, false for one that is gone; fewer where there are too many bytes, but at least one.
local unacked, index = KEYS[1], KEYS[2]
local now, prefix, room = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- A script whose first write needs no memory may go on where there is none left.
redis.call('ZREM', index, '')

local out = {}
for i = 4, #ARGV do
  local tag = prefix .. ARGV[i]
  local entry = redis.call('HGET', unacked, tag)
  if entry then
    room = room - #entry
    if room < 0 and #out > 0 then break end
    redis.call('ZADD', index, 'XX', now, tag)
  end
  out[#out + 1] = entry
end
return out
