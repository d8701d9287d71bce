-- SCAN: what could be taken over, and the floor. It is run where LOOK has found a reason.
--   KEYS[2]  the floor           KEYS[3]  the index of delayed messages
--   KEYS[4]  the reach: the highest id that the group ever handed out
--   ARGV[3]  lease, ms           ARGV[4]  consumer that holds delayed messages
--   ARGV[5]  lowest id to look at   ARGV[6]  most ids to give of each consumer, and of the index
-- Returns two lists of ids: idle for a lease, of each consumer ascending; and delayed ones that are due. Then
-- the floor's age, ms (0 if all that was handed out is decided), and the reach while the group, made anew, has
-- not got there again ('' otherwise).
-- The consumer of delayed messages is not looked at by idle time: it may have very many.
-- The floor is the lowest undecided id: of what is pending but not delayed, and of what is still to be
-- handed out. Floor and reach are written only when they have changed, and the reach only rises.
local lease, parked, from, most = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local now = clock()
local idle, lowest = {}, nil

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq) or 1e19, ms, seq -- the embedded server reads no number of 20 digits
end

-- following is the id just above, or a little less: a number of 16 digits is not counted exactly.
local function following(id)
  local msn, seqn, ms, seq = parts(id)
  if seq == '18446744073709551615' then return int(msn + 1) .. '-0' end
  if #seq > 15 then return id end
  return ms .. '-' .. int(seqn + 1)
end

local function lower(a, b)
  local am, as = parts(a)
  local bm, bs = parts(b)
  return am < bm or am == bm and as < bs
end

local function take(id) if lowest == nil or lower(id, lowest) then lowest = id end end

local summary = redis.call('XPENDING', stream, group)
for _, consumer in ipairs(summary[4] or {}) do
  if consumer[1] ~= parked then
    local oldest = redis.call('XPENDING', stream, group, '-', '+', 1, consumer[1])
    if #oldest > 0 then take(oldest[1][1]) end
    for _, row in ipairs(redis.call('XPENDING', stream, group, 'IDLE', lease, from, '+', most, consumer[1])) do
      idle[#idle + 1] = row[1]
    end
  end
end

local delivered
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local g = {}
  for i = 1, #info, 2 do g[info[i]] = info[i + 1] end
  if g.name == group then
    delivered = g['last-delivered-id']
    take(following(delivered))
  end
end
local age, reach = 0, ''
if lowest ~= nil then
  if redis.call('GET', KEYS[2]) ~= lowest then redis.pcall('SET', KEYS[2], lowest) end
  if not lower(delivered, lowest) then age = math.max(now - parts(lowest), 0) end
  local known = redis.call('GET', KEYS[4])
  if not known or lower(known, delivered) then
    redis.pcall('SET', KEYS[4], delivered)
  elseif lower(delivered, known) then
    reach = known
  end
end

return { idle, redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', int(now), 'LIMIT', 0, most), age, reach }
