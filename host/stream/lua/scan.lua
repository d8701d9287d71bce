-- SCAN: what could be taken over, and the floor; the one request of an idle second.
--   KEYS[2]  the floor           KEYS[3]  the index of delayed messages
--   ARGV[3]  lease, ms           ARGV[4]  consumer that holds delayed messages
--   ARGV[5]  lowest id to look at   ARGV[6]  most ids to give of each consumer, and of the index
-- Returns two lists of ids: idle for a lease, of each consumer ascending; and delayed ones that are due.
-- The consumer of delayed messages is not looked at by idle time: it may have very many.
-- The floor is the lowest undecided id: of what is pending but not delayed, and of what is still to be
-- handed out. It is written only when it has changed.
local lease, parked, from, most = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local now = clock()
local idle, lowest = {}, nil

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq), ms
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

for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local g = {}
  for i = 1, #info, 2 do g[info[i]] = info[i + 1] end
  if g.name == group then
    local _, seq, ms = parts(g['last-delivered-id'])
    take(ms .. '-' .. int(seq + 1))
  end
end
if lowest ~= nil and redis.call('GET', KEYS[2]) ~= lowest then redis.pcall('SET', KEYS[2], lowest) end

return { idle, redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', int(now), 'LIMIT', 0, most) }
