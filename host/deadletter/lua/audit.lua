-- Shared by the scripts that change something. audit adds the event that begins at
-- ARGV[at] and has n names and values, if it can: that nothing can be added to the
-- audit is no reason to fail.
-- keep is about how many events the stream keeps, '0' for all; outcome, if given,
-- becomes the event's.
local function audit(key, at, n, keep, outcome)
  local event = {}
  for i = at, at + n - 1, 2 do
    event[#event + 1] = ARGV[i]
    event[#event + 1] = ARGV[i] == 'outcome' and outcome or ARGV[i + 1]
  end
  if n == 0 then return end
  if keep == '0' then
    redis.pcall('XADD', key, '*', unpack(event))
  else
    redis.pcall('XADD', key, 'MAXLEN', '~', keep, '*', unpack(event))
  end
end
