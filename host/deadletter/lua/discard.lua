-- Removes dead letters, each with its audit event.
--
-- KEYS     [1] the dead-letter queue, [2] the audit, if there is one
-- ARGV     [1] see audit, [2] how many names and values an event has; 0: no audit
--          then for each letter its id and its event
-- returns  for each letter 1, or 0 if it was gone
local n, out = tonumber(ARGV[2]), {}
for i = 3, #ARGV, 1 + n do
  out[#out + 1] = redis.call('XDEL', KEYS[1], ARGV[i])
  if out[#out] == 1 then audit(KEYS[2], i + 1, n, ARGV[1]) end
end
return out
