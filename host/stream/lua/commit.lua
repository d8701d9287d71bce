-- COMMIT: makes outcomes true, all or nothing for each message, in the order given.
--   KEYS[2]   the index of delayed messages
--   KEYS[3]   the minute's counts
--   KEYS[4..] locks and targets, named by their place
--   ARGV[3]   life of a done mark, ms     ARGV[4]  life of the counts, s
--   ARGV[5]   count of messages, then for each:
--     id, place of the lock, fence, outcome, latency us, its bucket,
--     count of values that follow, counts of adds, state writes, cache writes and audit entries, then
--       an add or audit entry: place, maxlen (0: none), count of names and values, the names and values
--       a state write: place, version ('': the key is not there), 1 to delete,
--                      count and names and values to set, count and names to remove
--       a cache write: place, life ms (0: for ever), count of names and values, the names and values (none: remove)
-- Returns two values a message: status (0 committed, 1 lost, 2 conflict, 3 refused), and the id of the
-- first entry added, or what was refused and why.
-- Everything that can fail is checked before the first write of a message. XADD is the first write, so
-- that a server out of memory refuses it before anything is done; XACK is the last.
-- May be repeated: our own done mark answers with the id it kept.
local life = ARGV[3]
local VERSION = '_v'
local COMMITTED, LOST, CONFLICT, REFUSED = 0, 1, 2, 3
local out, acks, counts = {}, {}, {}
local kinds = {}

local function place(at) return KEYS[tonumber(ARGV[at])] end

-- kind is the type of a key, looked up once: no script step makes a stream of something else.
local function kind(key)
  if kinds[key] == nil then kinds[key] = redis.call('TYPE', key).ok end
  return kinds[key]
end

local function refuse(key, wanted, found) return REFUSED, key .. ' holds a ' .. found .. ', not a ' .. wanted end

-- skips over the parts, one function for each kind: from a part's place to the next one's.
local function afterAdd(at) return at + 3 + tonumber(ARGV[at + 2]) end
local function afterState(at)
  at = at + 4 + tonumber(ARGV[at + 3])
  return at + 1 + tonumber(ARGV[at])
end

-- holds says whether the message is ours to decide, or by which answer it already was.
local function holds(key, id, fence)
  local v = read(key)
  if v == nil then return pending(id) end
  local p = 'P|' .. owner .. '|' .. fence .. '|'
  if string.sub(v, 1, #p) == p then return true end
  local d = 'D|' .. owner .. ':' .. fence .. '|'
  if string.sub(v, 1, #d) == d then return false, string.match(v, '([^|]*)$') end
  return false
end

local function version(key)
  local v = redis.pcall('HGET', key, VERSION)
  if failed(v) then return nil end
  if v then return v end
  return redis.call('EXISTS', key) == 1 and '0' or ''
end

-- check finds whatever would keep the message from being written.
local function check(at, adds, states, caches)
  for _ = 1, adds do
    local key = place(at)
    local found = kind(key)
    if found ~= 'stream' and found ~= 'none' then return refuse(key, 'stream', found) end
    at = afterAdd(at)
  end
  for _ = 1, states do
    local key = place(at)
    local current = version(key)
    if current == nil then return refuse(key, 'hash', redis.call('TYPE', key).ok) end
    if current ~= ARGV[at + 1] then return CONFLICT, key end
    at = afterState(at)
  end
  for _ = 1, caches do
    local key = place(at)
    local found = redis.call('TYPE', key).ok
    if found ~= 'hash' and found ~= 'none' then return refuse(key, 'hash', found) end
    at = afterAdd(at)
  end
  return COMMITTED
end

local function add(at)
  local key, maxlen, n = place(at), ARGV[at + 1], tonumber(ARGV[at + 2])
  if maxlen == '0' then return redis.pcall('XADD', key, '*', unpack(ARGV, at + 3, at + 2 + n)) end
  return redis.pcall('XADD', key, 'MAXLEN', '~', maxlen, '*', unpack(ARGV, at + 3, at + 2 + n))
end

-- general errors are the server's, not the target's: nothing is decided by them.
local function general(err)
  for _, word in ipairs({ 'OOM', 'READONLY', 'MISCONF', 'NOREPLICAS', 'LOADING', 'MASTERDOWN' }) do
    if string.find(err, word, 1, true) then return true end
  end
  return false
end

-- addAll adds the entries, or none of them: it gives the place after them and the first id, or the error.
local function addAll(at, adds)
  local made, first = {}, ''
  for i = 1, adds do
    local id = add(at)
    if failed(id) then
      for _, m in ipairs(made) do redis.call('XDEL', m[1], m[2]) end
      return nil, place(at) .. ': ' .. id.err, general(id.err)
    end
    made[i] = { place(at), id }
    if i == 1 then first = id end
    kinds[place(at)] = 'stream'
    at = afterAdd(at)
  end
  return at, first
end

-- many runs a command on a long list of arguments, a piece at a time.
local function many(command, key, from, n)
  for i = from, from + n - 1, 1000 do
    redis.call(command, key, unpack(ARGV, i, math.min(i + 999, from + n - 1)))
  end
end

local function writeState(at, fence)
  local key, delete, set = place(at), ARGV[at + 2] == '1', tonumber(ARGV[at + 3])
  if delete then
    redis.call('DEL', key)
    return
  end
  redis.call('HSET', key, VERSION, fence)
  many('HSET', key, at + 4, set)
  many('HDEL', key, at + 5 + set, tonumber(ARGV[at + 4 + set]))
end

local function writeCache(at)
  local key, ttl, n = place(at), ARGV[at + 1], tonumber(ARGV[at + 2])
  redis.call('DEL', key)
  if n > 0 then
    many('HSET', key, at + 3, n)
    if ttl ~= '0' then redis.call('PEXPIRE', key, ttl) end
  end
end

local function count(field, by) counts[field] = (counts[field] or 0) + by end

-- commit decides one message; at is where its parts begin.
local function commit(id, key, fence, outcome, at, adds, states, caches, audits)
  local ours, before = holds(key, id, fence)
  if before ~= nil then
    acks[#acks + 1] = id
    return COMMITTED, before
  end
  if not ours then return LOST, '' end
  local status, reason = check(at, adds, states, caches)
  if status ~= COMMITTED then return status, reason end
  local first, everywhere
  at, first, everywhere = addAll(at, adds)
  if at == nil then return REFUSED, first, everywhere end
  for _ = 1, states do
    writeState(at, fence)
    at = afterState(at)
  end
  for _ = 1, caches do
    writeCache(at)
    at = afterAdd(at)
  end
  redis.call('SET', key, 'D|' .. owner .. ':' .. fence .. '|' .. outcome .. '|' .. first, 'PX', life)
  for _ = 1, audits do
    add(at)
    at = afterAdd(at)
  end
  acks[#acks + 1] = id
  return COMMITTED, first, nil, true
end

local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local parts = at + 11
  local status, text, everywhere, fresh = commit(ARGV[at], place(at + 1), ARGV[at + 2], ARGV[at + 3], parts,
    tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9]), tonumber(ARGV[at + 10]))
  -- Only a message before any write can meet such an error, so all that was done so far may be repeated.
  if everywhere then return redis.error_reply(string.match(text, ': %-?(.*)$')) end
  if fresh then
    count(ARGV[at + 3], 1)
    count('latency_us_sum', tonumber(ARGV[at + 4]))
    count('latency_count', 1)
    count(ARGV[at + 5], 1)
  end
  out[#out + 1] = status
  out[#out + 1] = text
  at = parts + tonumber(ARGV[at + 6])
end

for field, by in pairs(counts) do redis.pcall('HINCRBY', KEYS[3], field, int(by)) end
if next(counts) ~= nil then redis.pcall('EXPIRE', KEYS[3], ARGV[4]) end
if #acks > 0 then
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.pcall('ZREM', KEYS[2], unpack(acks)) end
  redis.call('XACK', stream, group, unpack(acks))
end
return out
