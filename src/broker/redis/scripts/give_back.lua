-- Moves one held message back to its lists, unless somebody else has been there since we looked.
--
-- KEYS: unacked, unacked_index, then the lists it goes to.
-- ARGV: tag, what unacked held for it ('' if nothing), its score ('' if it does not matter), LPUSH or RPUSH, the new payload.
-- Returns 1 if it was moved, 0 if not.
local entry = redis.call('HGET', KEYS[1], ARGV[1])
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not entry then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
if entry ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' and (not score or tonumber(score) ~= tonumber(ARGV[3])) then return 0 end
for i = 3, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'list' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind .. ', not a list')
  end
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
for i = 3, #KEYS do redis.call(ARGV[4], KEYS[i], ARGV[5]) end
return 1
