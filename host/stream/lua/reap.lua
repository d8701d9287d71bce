-- REAP: removes consumers of hosts that are gone, if they have nothing pending.
--   KEYS[1]   the stream      KEYS[2..]  the heartbeat of each consumer
--   ARGV[1]   the group       ARGV[2..]  the consumers
-- Returns how many were removed. One with a heartbeat stays, and one with entries: removing it would lose them.
local stream, group = KEYS[1], ARGV[1]
local removed = 0
for i = 2, #KEYS do
  local pending = redis.call('XPENDING', stream, group, '-', '+', 1, ARGV[i])
  if #pending == 0 and redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, ARGV[i])
    removed = removed + 1
  end
end
return removed
