-- RERUN: a new grant, under a new fence, for each message that we hold; or a delay.
--   KEYS[2]   the fencing counter
--   KEYS[3]   the index of delayed messages
--   KEYS[4]   the minute's counts
--   KEYS[5..] locks, and streams for audit entries, named by their place
--   ARGV[3]   lease, ms        ARGV[4]  life of an undecided lock, ms
--   ARGV[5]   consumer that holds delayed messages
--   ARGV[6]   life of the counts, s
--   ARGV[7]   count of messages, then for each:
--     id, place of the lock, fence held, attempt and deaths of the next run,
--     1 to leave memory until it is due, delay ms, count of audit entries, then for each of those:
--       place of the stream, maxlen (0: none), count of names and values, the names and values
-- Returns four values a message: status (0 granted, 1 decided by us, 3 stale), fence, attempt, deaths.
-- May be repeated: a newer fence of our own, or a message given up under a newer one, is the earlier answer.
local lease, life, parked = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local now, us = clock()
local draw, keep = counter(KEYS[2], us)
local drawn = false
local out, at = {}, 8
local retried = 0

local function answer(status, fence, attempt, deaths)
  out[#out + 1] = status
  out[#out + 1] = fence or '0'
  out[#out + 1] = attempt or '0'
  out[#out + 1] = deaths or '0'
end

-- XCLAIM comes first: it is allowed when memory is out, and what follows it too.
local function rerun(key, id, attempt, deaths, park, delay)
  local fence = draw()
  drawn = true
  if park then
    redis.call('XCLAIM', stream, group, parked, 0, id, 'FORCE', 'JUSTID')
    redis.call('SET', key, undecided('', fence, attempt, deaths, now + delay), 'PX', int(life + delay))
    redis.call('ZADD', KEYS[3], int(now + delay), id)
  else
    redis.call('XCLAIM', stream, group, owner, 0, id, 'FORCE', 'JUSTID')
    redis.call('SET', key, undecided(owner, fence, attempt, deaths, now + lease), 'PX', int(life))
  end
  answer(0, fence, attempt, deaths)
end

local function audits(n, write)
  for _ = 1, n do
    local key, maxlen, fields = KEYS[tonumber(ARGV[at])], ARGV[at + 1], tonumber(ARGV[at + 2])
    local first, last = at + 3, at + 2 + fields
    if write and maxlen == '0' then
      redis.pcall('XADD', key, '*', unpack(ARGV, first, last))
    elseif write then
      redis.pcall('XADD', key, 'MAXLEN', '~', maxlen, '*', unpack(ARGV, first, last))
    end
    at = last + 1
  end
end

for _ = 1, tonumber(ARGV[7]) do
  local id, key, fence = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local attempt, deaths = ARGV[at + 3], ARGV[at + 4]
  local park, delay, n = ARGV[at + 5] == '1', tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  at = at + 8
  local v = read(key)
  local done = false
  if v == nil then
    done = pending(id)
    if done then rerun(key, id, attempt, deaths, park, delay) else answer(3) end
  elseif decided(v) then
    local own = 'D|' .. owner .. ':' .. fence .. '|'
    answer(string.sub(v, 1, #own) == own and 1 or 3)
  else
    local p = parse(v)
    if p ~= nil and p.owner == owner and p.fence == fence then
      done = true
      if tonumber(attempt) > tonumber(p.attempt) then retried = retried + 1 end
      rerun(key, id, attempt, deaths, park, delay)
    elseif p ~= nil and tonumber(p.fence) > tonumber(fence) and (p.owner == owner or park and p.owner == '') then
      answer(0, p.fence, p.attempt, p.deaths)
    else
      answer(3)
    end
  end
  audits(n, done)
end
if drawn then keep() end
if retried > 0 then
  redis.pcall('HINCRBY', KEYS[4], 'retried', retried)
  redis.pcall('EXPIRE', KEYS[4], ARGV[6])
end
return out
