-- Reads entries of a dead-letter queue until there are enough, or enough bytes.
--
-- KEYS[1]  the dead-letter queue
-- ARGV     XRANGE or XREVRANGE, where to start, where to end, most entries, most bytes
-- returns  the entries, as that command gives them; at least one if there is one
local from, entries, bytes = ARGV[2], {}, 0
while #entries < tonumber(ARGV[4]) and bytes < tonumber(ARGV[5]) do
  local entry = redis.call(ARGV[1], KEYS[1], from, ARGV[3], 'COUNT', 1)[1]
  if not entry then break end
  entries[#entries + 1] = entry
  for _, part in ipairs(entry[2]) do bytes = bytes + #part end
  from = '(' .. entry[1]
end
return entries
