-- PROBE: tries what our scripts do to keys, in forms that change nothing, and says what is not permitted.
--   KEYS[..]  keys that scripts will be given
--   ARGV      for each command: count of its words, and the words
-- Returns for each command its error, or ''.
local out, at = {}, 1
while at <= #ARGV do
  local n = tonumber(ARGV[at])
  local reply = redis.pcall(unpack(ARGV, at + 1, at + n))
  out[#out + 1] = type(reply) == 'table' and reply.err or ''
  at = at + 1 + n
end
return out
