-- TRIM: removes entries that are old and that no group still needs.
--   KEYS[1]  the stream     then for each group that we know: its floor, its index of delayed messages
--   ARGV[1]  age below which an entry stays, ms     ARGV[2]  most entries to remove
--   ARGV[3..] the groups that we know, in the order of their keys
-- Returns how many were removed, and 1 if there may be more.
-- An entry stays if any group, ours or not, has it pending or has yet to hand it out; if it is not below the
-- floor of a group that we know; or if it waits until it is due. Nothing is removed while a group that we
-- know is gone: it is made again below its floor, and needs what lies above. All is asked in this one step, so
-- a group that was made a moment ago counts too.
local stream, most = KEYS[1], tonumber(ARGV[2])
local kind = redis.call('TYPE', stream).ok
if kind ~= 'stream' then return { 0, 0 } end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq) or 1e19 -- the embedded server reads no number of 20 digits
end

-- lower compares ids. Those of equal length differ in their first different digit.
local function lower(a, b)
  if #a == #b and string.sub(a, -2, -2) == '-' and string.sub(b, -2, -2) == '-' then return a < b end
  local am, as = parts(a)
  local bm, bs = parts(b)
  return am < bm or am == bm and as < bs
end

local t = redis.call('TIME')
local old = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) - tonumber(ARGV[1])
local bound = string.format('%.0f-0', math.max(old, 0))
local function keep(id) if id and lower(id, bound) then bound = id end end

local there = {}
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local g = {}
  for i = 1, #info, 2 do g[info[i]] = info[i + 1] end
  there[g.name] = true
  keep(g['last-delivered-id'])
  keep(redis.call('XPENDING', stream, g.name)[2])
end
for i = 3, #ARGV do
  if not there[ARGV[i]] then return { 0, 0 } end
  keep(redis.call('GET', KEYS[2 * i - 4]))
end

-- The index is looked through only if there is something to remove.
local function first()
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  return entry and entry[1]
end
local oldest = first()
if not oldest or not lower(oldest, bound) then return { 0, 0 } end
for i = 3, #ARGV do
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2 * i - 3], 0, -1)) do keep(id) end
end
local n = redis.call('XTRIM', stream, 'MINID', '~', bound, 'LIMIT', most)
return { n, n >= most and 1 or 0 }
