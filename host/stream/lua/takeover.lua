-- TAKEOVER: takes over messages that nobody has renewed for a lease, lock and group entry in one step.
--   KEYS[2]   the fencing counter
--   KEYS[3]   the index of delayed messages
--   KEYS[4..] the lock of each message
--   ARGV[3]   lease, ms        ARGV[4]  life of an undecided lock, ms
--   ARGV[5]   1: only what was given up or is due; leases that an owner let lapse are left
--   ARGV[6]   most messages to take    ARGV[7]  most bytes of fields, which the last one taken may pass
--   ARGV[8..] the id of each message
-- Returns one row a message looked at, fewer than asked once a limit is reached:
--   {0, fence, attempt, deaths, times handed out, fields}  taken
--   {1} decided, acknowledged   {2} left alone   {3} lost: deleted before it had an outcome
local lease, life, gentle = tonumber(ARGV[3]), ARGV[4], ARGV[5] == '1'
local room, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local now, us = clock()
local draw, keep = counter(KEYS[2], us)
local drawn = false
local out, taken, bytes = {}, 0, 0

local function forget(id)
  redis.call('XACK', stream, group, id)
  redis.call('ZREM', KEYS[3], id)
end

-- take makes the message ours. XCLAIM comes first: it is allowed when memory is out, and what follows it too.
-- It counts one more time handed out, or, where the owner has let the message go, begins anew at 1: so the count
-- says how many hosts in a row may have died of it. (JUSTID would not do: in the embedded store it counts
-- too.) FORCE: a group that was made anew may not know the entry while its lock still stands.
local function take(key, id, attempt, deaths, letgo)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then
    forget(id)
    redis.call('DEL', key)
    return { 3 }
  end
  if letgo then
    redis.call('XCLAIM', stream, group, owner, 0, id, 'FORCE', 'RETRYCOUNT', 1)
  else
    redis.call('XCLAIM', stream, group, owner, 0, id, 'FORCE')
  end
  local fence = draw()
  drawn = true
  taken = taken + 1
  redis.call('SET', key, undecided(owner, fence, attempt, deaths, now + lease), 'PX', life)
  redis.call('ZADD', KEYS[3], 'XX', int(now + lease), id)
  local row = redis.call('XPENDING', stream, group, id, id, 1)[1]
  for _, field in ipairs(entry[2]) do bytes = bytes + #field end
  return { 0, fence, attempt, deaths, row and row[4] or 1, entry[2] }
end

local function look(key, id)
  local v = read(key)
  if v == nil then
    if gentle then return { 2 } end
    if #redis.call('XPENDING', stream, group, 'IDLE', ARGV[3], id, id, 1) > 0 then return take(key, id, '1', '0') end
    -- Decided so long ago that its mark is gone, and acknowledged: the index is the last to know.
    if #redis.call('XPENDING', stream, group, id, id, 1) == 0 then redis.call('ZREM', KEYS[3], id) end
    return { 2 }
  end
  if decided(v) then
    forget(id)
    return { 1 }
  end
  local p = parse(v)
  if p == nil then
    redis.call('ZADD', KEYS[3], 'XX', int(now + lease), id)
    return { 2 }
  end
  if p.till > now then
    redis.call('ZADD', KEYS[3], 'XX', int(p.till), id)
    return { 2 }
  end
  if gentle and p.owner ~= '' then return { 2 } end
  return take(key, id, p.attempt, p.deaths, p.owner == '')
end

for i = 4, #KEYS do
  out[#out + 1] = look(KEYS[i], ARGV[i + 4])
  if taken >= room or bytes >= most then break end
end
if drawn then keep() end
return out
