-- Binds an expiring queue, and puts off the time at which its exchange's table may be deleted.
--
-- KEYS: binding table, deadlines. ARGV: member, exchange, milliseconds to live.
local time = redis.call('TIME')
local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('ZADD', KEYS[2], 'GT', string.format('%.0f', deadline), ARGV[2])
