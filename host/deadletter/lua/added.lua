-- Ends the transaction that moves a dead letter with more fields than a script can
-- add. A transaction goes on after an error, so this removes the letter only if the
-- newest entry of the stream is its message.
--
-- KEYS     as of requeue.lua
-- ARGV     as of requeue.lua, but of the new entry only the last four
-- returns  the new entry's id, or '' if it was not added
if redis.call('TYPE', KEYS[2]).ok ~= 'stream' then return '' end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not last then return '' end
for i = 0, 3 do
  if last[2][#last[2] - i] ~= ARGV[#ARGV - i] then return '' end
end
redis.call('XDEL', KEYS[1], ARGV[1])
audit(KEYS[3], 5, tonumber(ARGV[4]), ARGV[3], ARGV[2] .. '/' .. last[1])
return last[1]
