-- What every script on a subscription begins with.
--   KEYS[1]  the input stream
--   ARGV[1]  the group
--   ARGV[2]  the host's consumer name, which is the owner in its locks
-- A lock is one string:
--   P|owner|fence|attempt|deaths|leaseuntil   undecided; the lease ends at leaseuntil (server time, ms),
--                                             the attempts live on; an empty owner has given it up
--   D|owner:fence|outcome|resultid            decided by the commit of that token
-- Anything else, or a key of another type, is not ours to touch.
local stream, group, owner = KEYS[1], ARGV[1], ARGV[2]

-- clock gives the server's time in milliseconds and in microseconds.
local function clock()
  local t = redis.call('TIME')
  local us = tonumber(t[1]) * 1000000 + tonumber(t[2])
  return math.floor(us / 1000), us
end

-- int writes a number as an integer; tostring would round above 1e14.
local function int(n) return string.format('%.0f', n) end

-- read gives the lock's value, nil if there is none, '' for a key of another type.
local function read(key)
  local v = redis.pcall('GET', key)
  if type(v) == 'table' then return '' end
  return v or nil
end

-- parse takes an undecided lock apart; nil if it is none.
local function parse(v)
  local o, fence, attempt, deaths, till = string.match(v, '^P|([^|]*)|(%d+)|(%d+)|(%d+)|(%d+)$')
  if o == nil then return nil end
  return { owner = o, fence = fence, attempt = attempt, deaths = deaths, till = tonumber(till) }
end

-- undecided is the value of an undecided lock.
local function undecided(o, fence, attempt, deaths, till)
  return 'P|' .. o .. '|' .. fence .. '|' .. attempt .. '|' .. deaths .. '|' .. int(till)
end

-- decided says whether the lock has an outcome.
local function decided(v) return string.sub(v, 1, 2) == 'D|' end

-- failed says whether a reply of pcall is an error.
local function failed(r) return type(r) == 'table' and r.err ~= nil end

-- pending says whether the group counts the entry as handed to us.
local function pending(id)
  local p = redis.pcall('XPENDING', stream, group, id, id, 1, owner)
  return not failed(p) and #p > 0
end

-- counter gives a function that draws rising fences: above every earlier one of
-- the stream, and above the server's microseconds, so that a lost counter does
-- not turn it back. keep stores the last one drawn.
local function counter(key, us)
  local stored = tonumber(redis.call('GET', key) or 0) or 0
  local last = math.max(stored, us)
  local function draw()
    last = last + 1
    return int(last)
  end
  local function keep() redis.call('SET', key, int(last)) end
  return draw, keep
end
