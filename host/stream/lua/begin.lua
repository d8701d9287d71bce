-- BEGIN: takes the lease of each entry, or says why not.
--   KEYS[2]   the fencing counter
--   KEYS[3]   the index of delayed messages
--   KEYS[4..] the lock of each entry
--   ARGV[3]   lease, ms        ARGV[4]  life of an undecided lock, ms
--   ARGV[5]   consumer that holds delayed messages
--   ARGV[6..] the id of each entry, ascending if the lookup is to be cheap
-- Returns one string an entry: the lock's value if it is granted, else `decided`, `busy` or `stale`.
-- A lock that is not there is taken only if the group counts the entry as ours.
-- May be repeated: our own lock answers with the same grant.
local life, parked = ARGV[4], ARGV[5]
local n = #KEYS - 3
local now, us = clock()
local till = now + tonumber(ARGV[3])
local draw, keep = counter(KEYS[2], us)
local drawn = false
local out = {}

-- One look at the group for the whole batch; what it misses is looked up alone.
local found = {}
local rows = redis.pcall('XPENDING', stream, group, ARGV[6], ARGV[5 + n], n, owner)
if not failed(rows) then
  for _, row in ipairs(rows) do found[row[1]] = true end
end
local function ours(id) return found[id] or pending(id) end

local function hold(key, fence, attempt, deaths)
  local value = undecided(owner, fence, attempt, deaths, till)
  redis.call('SET', key, value, 'PX', life)
  return value
end

-- meet answers for an entry whose lock is there, or which is not ours.
local function meet(key, id, v)
  if v == nil then return 'stale' end
  if decided(v) then
    redis.call('XACK', stream, group, id)
    return 'decided'
  end
  local p = parse(v)
  if p == nil then return 'busy' end
  if p.owner == owner then return hold(key, p.fence, p.attempt, p.deaths) end
  if not ours(id) then return p.till > now and 'busy' or 'stale' end
  if p.till <= now then
    drawn = true
    return hold(key, draw(), p.attempt, p.deaths)
  end
  -- A recreated group hands out again what waits until it is due: back to where it waits.
  if p.owner == '' then
    redis.call('XCLAIM', stream, group, parked, 0, id, 'FORCE', 'JUSTID')
    redis.call('ZADD', KEYS[3], int(p.till), id)
  end
  return 'busy'
end

local before, after = 'P|' .. owner .. '|', '|1|0|' .. int(till)
for i = 1, n do
  local key, id = KEYS[3 + i], ARGV[5 + i]
  local value, fresh = nil, false
  if ours(id) then -- the common case: a new message, one command
    value = before .. draw() .. after
    fresh = redis.call('SET', key, value, 'NX', 'PX', life)
  end
  if fresh then
    drawn = true
    out[i] = value
  else
    out[i] = meet(key, id, read(key))
  end
end
if drawn then keep() end
return out
