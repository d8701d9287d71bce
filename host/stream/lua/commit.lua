-- COMMIT: makes outcomes true, all or nothing for each message, in the order given.
--   KEYS[2]   the index of delayed messages
--   KEYS[3]   the minute's counts
--   KEYS[4..] the lock of each message, then the targets, named by their place
--   ARGV[3]   life of a done mark, ms     ARGV[4]  life of the counts, s
--   ARGV[5]   count of messages      ARGV[6]  count of forms, then for each (see forms.go):
--     place (of the stream; of the index, for entries that are kept for later), maxlen (0: none; after a `!`: what
--     it drops is counted; `@`: for later), count of names and values, the names and values (for later: 1, place of
--     the stream), count of holes, and for each its place among the names and values and the number of the value
--     that fills it (0: the message's id), count of values that an entry has
--   then for each message:
--     id, fence, label (outcome, a space, the latency's bucket), latency us,
--     shape (counts of adds, state writes, cache writes, audit entries, and of the further messages that
--     belong with it, with spaces between), then
--       an add or audit entry: number of its form, its values (for later: when it is due, ms, and the entry)
--       a state write: place, version ('': the key is not there), 1 to delete,
--                      count and names and values to set, count and names to remove
--       a cache write: place, life ms (0: for ever), count of names and values, the names and values (none: remove)
--     The further messages follow; they have no writes and no further ones of their own.
-- Returns two values a message, or a message with its further ones: status (0 committed, 1 lost, 2 conflict,
-- 3 refused), and the id of the first entry added, which ids were lost, or what was refused and why. At the end,
-- if any were dropped of those that are counted: how many, and the id of the oldest that is left.
-- Everything that can fail is checked before the first write of a message, or of all that belong together.
-- XADD is the first write, so that a server out of memory refuses it before anything is done; XACK is the last.
-- May be repeated: our own done mark answers with the id it kept, and is written again: who waits until
-- replicas have what his connection wrote, waits for this.
local KEYS, ARGV, unpack = KEYS, ARGV, unpack
local life = ARGV[3]
local VERSION = '_v'
local COMMITTED, LOST, CONFLICT, REFUSED = 0, 1, 2, 3
local out, acks, labels, latency, fresh = {}, {}, {}, 0, 0
local dropped, oldest = 0, ''
local kinds = {}

local function place(at) return KEYS[tonumber(ARGV[at])] end

-- kind is the type of a key, looked up once: no script step makes a stream of something else.
local function kind(key)
  if kinds[key] == nil then kinds[key] = redis.call('TYPE', key).ok end
  return kinds[key]
end

local function refuse(key, wanted, found) return REFUSED, key .. ' holds a ' .. found .. ', not a ' .. wanted end

-- skips over the parts, one function for each kind: from a part's place to the next one's.
local forms = {}
local function afterAdd(at) return at + 1 + forms[ARGV[at]].width end
local function afterCache(at) return at + 3 + tonumber(ARGV[at + 2]) end
local function afterState(at)
  at = at + 4 + tonumber(ARGV[at + 3])
  return at + 1 + tonumber(ARGV[at])
end

-- skip gives the place after all parts.
local function skip(at, shape)
  for _ = 1, shape.adds do at = afterAdd(at) end
  for _ = 1, shape.states do at = afterState(at) end
  for _ = 1, shape.caches do at = afterCache(at) end
  for _ = 1, shape.audits do at = afterAdd(at) end
  return at
end

-- formAt reads a form: the command that adds an entry of it, with holes. It gives the place after it.
local byte = string.byte
local function formAt(at)
  local key, limit, count = place(at), ARGV[at + 1], tonumber(ARGV[at + 2])
  local form = { key = key, command = { 'XADD', key }, holes = {}, fills = {} }
  local mark = byte(limit)
  if mark == 64 then
    form.later = place(at + 3)
  elseif mark == 33 then
    form.counted, limit = true, string.sub(limit, 2)
  end
  local command = form.command
  if limit ~= '0' then command[3], command[4], command[5] = 'MAXLEN', '~', limit end
  command[#command + 1] = '*'
  local before = #command
  for i = 1, count do command[before + i] = ARGV[at + 2 + i] end
  at = at + 3 + count
  form.length, form.gaps = before + count, tonumber(ARGV[at])
  for j = 1, form.gaps do
    form.holes[j], form.fills[j] = before + tonumber(ARGV[at + 2 * j - 1]), tonumber(ARGV[at + 2 * j])
  end
  at = at + 2 * form.gaps + 1
  form.width = tonumber(ARGV[at])
  return form, at + 1
end

-- All locks are read at once, so no message may come twice in one call. MGET says nothing of a key of
-- another type: what it does not know is read alone.
local locks = redis.call('MGET', unpack(KEYS, 4, 3 + tonumber(ARGV[5])))
local held = 'P|' .. owner .. '|'

-- holds says whether message i is ours to decide, or by which answer it already was.
local function holds(i, id, fence)
  local v = locks[i] or read(KEYS[3 + i])
  if v == nil then return pending(id) end
  if string.find(v, held .. fence .. '|', 1, true) == 1 then return true end
  local d = 'D|' .. owner .. ':' .. fence .. '|'
  if string.sub(v, 1, #d) == d then
    redis.call('PEXPIRE', KEYS[3 + i], life)
    return false, string.match(v, '([^|]*)$')
  end
  return false
end

local function version(key)
  local v = redis.pcall('HGET', key, VERSION)
  if failed(v) then return nil end
  if v then return v end
  return redis.call('EXISTS', key) == 1 and '0' or ''
end

local function wants(key, wanted)
  local found = kind(key)
  if found ~= wanted and found ~= 'none' then return refuse(key, wanted, found) end
  return COMMITTED
end

-- refusal says what would keep an entry of the form from being added, or from being kept and added when it is
-- due; false if nothing.
local function refusal(form)
  if form.later then
    local status, reason = wants(form.key, 'zset')
    if status ~= COMMITTED then return reason end
  end
  local status, reason = wants(form.later or form.key, 'stream')
  return status ~= COMMITTED and reason
end

-- check finds whatever would keep the message from being written.
local function check(at, shape)
  for _ = 1, shape.adds do
    local form = forms[ARGV[at]]
    if form.refusal == nil then form.refusal = refusal(form) end
    if form.refusal then return REFUSED, form.refusal end
    at = afterAdd(at)
  end
  for _ = 1, shape.states do
    local key = place(at)
    local current = version(key)
    if current == nil then return refuse(key, 'hash', redis.call('TYPE', key).ok) end
    if current ~= ARGV[at + 1] then return CONFLICT, key end
    at = afterState(at)
  end
  for _ = 1, shape.caches do
    local key = place(at)
    local found = redis.call('TYPE', key).ok
    if found ~= 'hash' and found ~= 'none' then return refuse(key, 'hash', found) end
    at = afterCache(at)
  end
  return COMMITTED
end

-- entry gives the command that adds the entry at at, of message id.
local function entry(form, at, id)
  local command, holes, fills = form.command, form.holes, form.fills
  for j = 1, form.gaps do
    local n = fills[j]
    command[holes[j]] = n == 0 and id or ARGV[at + n]
  end
  return unpack(command, 1, form.length)
end

-- addCounted adds an entry and counts what its trimming drops: rarely, and then many at once.
local function addCounted(form, at, id)
  local before = redis.call('XLEN', form.key)
  local added = redis.pcall(entry(form, at, id))
  if failed(added) then return added end
  local gone = before + 1 - redis.call('XLEN', form.key)
  if gone > 0 then
    dropped = dropped + gone
    oldest = redis.call('XRANGE', form.key, '-', '+', 'COUNT', 1)[1][1]
  end
  return added
end

local function add(at, id)
  local form = forms[ARGV[at]]
  if form.counted then return addCounted(form, at, id) end
  return redis.pcall(entry(form, at, id))
end

-- park keeps entry n of message i until it is due, under a name that no other has: it gives the command
-- that undoes it, or an error.
local function park(form, at, i, n)
  local name = string.format('%s/%04d\n', KEYS[3 + i], n) .. ARGV[at + 2]
  local done = redis.pcall('ZADD', form.key, ARGV[at + 1], name)
  if failed(done) then return done end
  return { 'ZREM', form.key, name }
end

-- general errors are the server's, not the target's: nothing is decided by them.
local function general(err)
  for _, word in ipairs({ 'OOM', 'READONLY', 'MISCONF', 'NOREPLICAS', 'LOADING', 'MASTERDOWN' }) do
    if string.find(err, word, 1, true) then return true end
  end
  return false
end

local function undo(made)
  while made do
    redis.call(unpack(made.command))
    made = made.earlier
  end
end

-- addAll adds the entries of message i, whose id is message, or none of them: it gives the place after them, the
-- first one's id ('' if it is for later), and what undoes them and what was made before; or the error. Of the
-- last one it does not keep what would undo it.
local function addAll(i, message, at, adds, made, last)
  local first = ''
  for n = 1, adds do
    local form = forms[ARGV[at]]
    local id
    if form.later then id = park(form, at, i, n) else id = add(at, message) end
    if failed(id) then
      undo(made)
      return nil, form.key .. ': ' .. id.err, nil, general(id.err)
    end
    if n == 1 and not form.later then first = id end
    if n < adds or not last then made = { command = form.later and id or { 'XDEL', form.key, id }, earlier = made } end
    at = afterAdd(at)
  end
  return at, first, made
end

-- many runs a command on a long list of arguments, a piece at a time.
local function many(command, key, from, n)
  for i = from, from + n - 1, 1000 do
    redis.call(command, key, unpack(ARGV, i, math.min(i + 999, from + n - 1)))
  end
end

local function writeState(at, fence)
  local key, delete, set = place(at), ARGV[at + 2] == '1', tonumber(ARGV[at + 3])
  local remove = tonumber(ARGV[at + 4 + set])
  if delete then
    redis.call('DEL', key)
    if set == 0 then return end
  end
  redis.call('HSET', key, VERSION, fence)
  many('HSET', key, at + 4, set)
  many('HDEL', key, at + 5 + set, remove)
  if remove > 0 and redis.call('HLEN', key) == 1 then redis.call('DEL', key) end
end

local function writeCache(at)
  local key, ttl, n = place(at), ARGV[at + 1], tonumber(ARGV[at + 2])
  redis.call('DEL', key)
  if n > 0 then
    many('HSET', key, at + 3, n)
    if ttl ~= '0' then redis.call('PEXPIRE', key, ttl) end
  end
end

-- finish writes all of message i but its entries. It gives the place after its parts.
local function finish(i, id, fence, label, took, at, shape, first)
  for _ = 1, shape.states do
    writeState(at, fence)
    at = afterState(at)
  end
  for _ = 1, shape.caches do
    writeCache(at)
    at = afterCache(at)
  end
  redis.call('SET', KEYS[3 + i], 'D|' .. owner .. ':' .. fence .. '|' .. label.outcome .. '|' .. first, 'PX', life)
  for _ = 1, shape.audits do
    add(at, id)
    at = afterAdd(at)
  end
  acks[#acks + 1] = id
  label.count, latency, fresh = label.count + 1, latency + took, fresh + 1
  return at
end

-- commit decides message i, whose parts begin at at, by itself. It gives its status, the id or the reason,
-- and the place after the parts; or an error that concerns every message.
local function commit(i, id, fence, label, took, at, shape)
  local ours, before = holds(i, id, fence)
  if before ~= nil then
    acks[#acks + 1] = id
    return COMMITTED, before, skip(at, shape)
  end
  if not ours then return LOST, '', skip(at, shape) end
  local status, reason = check(at, shape)
  if status ~= COMMITTED then return status, reason, skip(at, shape) end
  local next, first, _, everywhere = addAll(i, id, at, shape.adds, nil, true)
  if next == nil then return REFUSED, first, skip(at, shape), everywhere end
  return COMMITTED, first, finish(i, id, fence, label, took, next, shape, first)
end

-- ready says whether all of the messages can be written: it gives a status, and the id or the reason. They
-- were written together, under fences that served for nothing else: one's done mark stands for all.
local function ready(messages)
  local lost = {}
  for _, m in ipairs(messages) do
    local ours, before = holds(m.i, m.id, m.fence)
    if before ~= nil then
      for _, each in ipairs(messages) do acks[#acks + 1] = each.id end
      return COMMITTED, before
    end
    if not ours then lost[#lost + 1] = m.id end
  end
  if #lost > 0 then return LOST, table.concat(lost, ' ') end
  for _, m in ipairs(messages) do
    local status, reason = check(m.at, m.shape)
    if status ~= COMMITTED then return status, reason end
  end
  return nil
end

-- together decides messages that belong together, all or none of them. It gives their one status, and the id
-- of the first entry or the reason; or an error that concerns every message.
local function together(messages)
  local status, text = ready(messages)
  if status then return status, text end
  local made, everywhere
  for _, m in ipairs(messages) do
    m.next, m.first, made, everywhere = addAll(m.i, m.id, m.at, m.shape.adds, made, false)
    if m.next == nil then return REFUSED, m.first, everywhere end
  end
  for _, m in ipairs(messages) do finish(m.i, m.id, m.fence, m.label, m.took, m.next, m.shape, m.first) end
  return COMMITTED, messages[1].first
end

-- Labels and shapes are few: each is taken apart once.
local function labelOf(text)
  local l = labels[text]
  if l == nil then
    local outcome, bucket = string.match(text, '^(.*) (.-)$')
    l = { outcome = outcome, bucket = bucket, count = 0 }
    labels[text] = l
  end
  return l
end

local shapes = {}
local function shapeOf(text)
  local s = shapes[text]
  if s == nil then
    local a, b, c, d, e = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
    s = { adds = tonumber(a), states = tonumber(b), caches = tonumber(c), audits = tonumber(d), more = tonumber(e) }
    shapes[text] = s
  end
  return s
end

-- take gives n messages, of which the first is message i and begins at at, and the place after them.
local function take(n, i, at)
  local messages = {}
  for k = i, i + n - 1 do
    local m = {
      i = k, id = ARGV[at], fence = ARGV[at + 1], label = labelOf(ARGV[at + 2]), took = tonumber(ARGV[at + 3]),
      shape = shapeOf(ARGV[at + 4]), at = at + 5,
    }
    messages[#messages + 1] = m
    at = skip(m.at, m.shape)
  end
  return messages, at
end

local at, i, n = 7, 1, tonumber(ARGV[5])
for f = 1, tonumber(ARGV[6]) do forms[tostring(f)], at = formAt(at) end
while i <= n do
  local shape = shapeOf(ARGV[at + 4])
  local status, text, everywhere
  if shape.more == 0 then
    status, text, at, everywhere = commit(i, ARGV[at], ARGV[at + 1], labelOf(ARGV[at + 2]), tonumber(ARGV[at + 3]), at + 5, shape)
  else
    local messages
    messages, at = take(1 + shape.more, i, at)
    status, text, everywhere = together(messages)
  end
  -- Only a message before any write can meet such an error, so all that was done so far may be repeated.
  if everywhere then return redis.error_reply(string.match(text, ': %-?(.*)$')) end
  out[#out + 1] = status
  out[#out + 1] = text
  i = i + 1 + shape.more
end

if fresh > 0 then
  local stats = KEYS[3]
  for _, l in pairs(labels) do
    if l.count > 0 then
      redis.pcall('HINCRBY', stats, l.outcome, l.count)
      redis.pcall('HINCRBY', stats, l.bucket, l.count)
    end
  end
  redis.pcall('HINCRBY', stats, 'latency_us_sum', int(latency))
  redis.pcall('HINCRBY', stats, 'latency_count', fresh)
  redis.pcall('EXPIRE', stats, ARGV[4])
end
if dropped > 0 then
  redis.pcall('HINCRBY', KEYS[3], 'trimmed', dropped)
  redis.pcall('EXPIRE', KEYS[3], ARGV[4])
  out[#out + 1] = dropped
  out[#out + 1] = oldest
end
if #acks > 0 then
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.pcall('ZREM', KEYS[2], unpack(acks)) end
  redis.call('XACK', stream, group, unpack(acks))
end
return out
