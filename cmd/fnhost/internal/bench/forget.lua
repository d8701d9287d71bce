-- Removes a stream that is empty and that nobody reads in a group.
-- KEYS: stream
-- returns 1 if it was removed
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('XLEN', KEYS[1]) > 0 then return 0 end
if #redis.call('XINFO', 'GROUPS', KEYS[1]) > 0 then return 0 end
return redis.call('DEL', KEYS[1])
