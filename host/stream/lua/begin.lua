-- BEGIN: takes the lease of each entry, or says why not.
--   KEYS[2]   the fencing counter
--   KEYS[3]   the index of delayed messages
--   KEYS[4..] the lock of each entry
--   ARGV[3]   lease, ms        ARGV[4]  life of an undecided lock, ms
--   ARGV[5]   consumer that holds delayed messages
--   ARGV[6..] the id of each entry, ascending if the lookup is to be cheap
-- Returns four values an entry: status (0 granted, 1 decided, 2 busy, 3 stale), fence, attempt, deaths.
-- A lock that is not there is taken only if the group counts the entry as ours.
-- May be repeated: our own lock answers with the same grant.
local lease, life, parked = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local n = #KEYS - 3
local now, us = clock()
local draw, keep = counter(KEYS[2], us)
local drawn = false
local out = {}

-- One look at the group for the whole batch; what it misses is looked up alone.
local ours = {}
local rows = redis.pcall('XPENDING', stream, group, ARGV[6], ARGV[5 + n], n, owner)
if not failed(rows) then
  for _, row in ipairs(rows) do ours[row[1]] = true end
end

local function answer(status, fence, attempt, deaths)
  out[#out + 1] = status
  out[#out + 1] = fence or '0'
  out[#out + 1] = attempt or '0'
  out[#out + 1] = deaths or '0'
end

local function grant(key, attempt, deaths)
  local fence = draw()
  drawn = true
  redis.call('SET', key, undecided(owner, fence, attempt, deaths, now + lease), 'PX', life)
  answer(0, fence, attempt, deaths)
end

for i = 1, n do
  local key, id = KEYS[3 + i], ARGV[5 + i]
  local v = read(key)
  if v == nil then
    if ours[id] or pending(id) then grant(key, '1', '0') else answer(3) end
  elseif decided(v) then
    redis.call('XACK', stream, group, id)
    answer(1)
  else
    local p = parse(v)
    if p == nil then
      answer(2)
    elseif p.owner == owner then
      redis.call('SET', key, undecided(owner, p.fence, p.attempt, p.deaths, now + lease), 'PX', life)
      answer(0, p.fence, p.attempt, p.deaths)
    elseif not (ours[id] or pending(id)) then
      answer(p.till > now and 2 or 3)
    elseif p.till <= now then
      grant(key, p.attempt, p.deaths)
    else
      -- A recreated group hands out again what waits until it is due: back to where it waits.
      if p.owner == '' then
        redis.call('XCLAIM', stream, group, parked, 0, id, 'FORCE', 'JUSTID')
        redis.call('ZADD', KEYS[3], int(p.till), id)
      end
      answer(2)
    end
  end
end
if drawn then keep() end
return out
