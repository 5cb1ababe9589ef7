-- Deletes binding tables that nobody has put off in time, except those that queues without expiry are bound in.
--
-- KEYS: deadlines. ARGV: prefix of binding tables, prefix of their permanent parts, how many at most.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])
for _, exchange in ipairs(gone) do
  redis.call('ZREM', KEYS[1], exchange)
  if redis.call('EXISTS', ARGV[2] .. exchange) == 0 then redis.call('DEL', ARGV[1] .. exchange) end
end
return #gone
