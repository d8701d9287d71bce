-- RENEW: keeps the leases of what we hold, and resets the idle time of the group's entries.
--   KEYS[2..] the lock of each message
--   ARGV[3]   lease, ms        ARGV[4]  life of an undecided lock, ms
--   ARGV[5..] id, fence, attempt, deaths of each message
-- Returns one status a message: 0 kept, 1 decided by us, 3 no longer ours.
-- XCLAIM comes first: it is allowed when memory is out, and what follows it too. FORCE survives a
-- group that was made anew and a consumer that a stranger deleted.
local lease, life = tonumber(ARGV[3]), ARGV[4]
local now = clock()
local out, ids, sets = {}, {}, {}

for i = 2, #KEYS do
  local at = 5 + (i - 2) * 4
  local id, fence, attempt, deaths = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local v = read(KEYS[i])
  local keep, status = false, 3
  if v == nil then
    keep = pending(id)
  elseif decided(v) then
    local own = 'D|' .. owner .. ':' .. fence .. '|'
    if string.sub(v, 1, #own) == own then status = 1 end
  else
    local p = parse(v)
    if p ~= nil and p.owner == owner and p.fence == fence then
      keep, attempt, deaths = true, p.attempt, p.deaths
    end
  end
  if keep then
    status = 0
    ids[#ids + 1] = id
    sets[#sets + 1] = { KEYS[i], undecided(owner, fence, attempt, deaths, now + lease) }
  end
  out[#out + 1] = status
end

if #ids > 0 then
  ids[#ids + 1] = 'FORCE'
  ids[#ids + 1] = 'JUSTID'
  redis.call('XCLAIM', stream, group, owner, 0, unpack(ids))
  for _, set in ipairs(sets) do redis.call('SET', set[1], set[2], 'PX', life) end
end
return out
