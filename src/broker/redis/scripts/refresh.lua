-- Makes held messages young. Those that are gone stay gone.
--
-- KEYS: unacked_index. ARGV: now, tag prefix, the numbers of the tags.
local now, prefix = ARGV[1], ARGV[2]

-- A script whose first write needs no memory may go on where there is none left.
redis.call('ZREM', KEYS[1], '')

local scores = {}
for i = 3, #ARGV do
  scores[#scores + 1] = now
  scores[#scores + 1] = prefix .. ARGV[i]
end
return redis.call('ZADD', KEYS[1], 'XX', unpack(scores))
