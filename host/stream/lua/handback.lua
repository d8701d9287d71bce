-- HANDBACK: gives up leases, so that any host may take the messages at once.
--   KEYS[2..] the lock of each message
--   ARGV[3]   lease, ms        ARGV[4]  life of an undecided lock, ms
--   ARGV[5..] id, fence, attempt, deaths of each message
-- Returns how many were ours. The lock stays, without owner: deleting it would restart the attempts.
-- The entry's idle time is set to a lease, so that the next look at the group finds it.
local lease, life = ARGV[3], ARGV[4]
local now = clock()
local given = 0

for i = 2, #KEYS do
  local at = 5 + (i - 2) * 4
  local id, fence, attempt, deaths = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local v = read(KEYS[i])
  local ours = false
  if v == nil then
    ours = pending(id)
  else
    local p = parse(v)
    if p ~= nil and p.owner == owner and p.fence == fence then
      ours, attempt, deaths = true, p.attempt, p.deaths
    end
  end
  if ours then
    redis.call('XCLAIM', stream, group, owner, 0, id, 'IDLE', lease, 'FORCE', 'JUSTID')
    redis.call('SET', KEYS[i], undecided('', fence, attempt, deaths, now), 'PX', life)
    given = given + 1
  end
end
return given
