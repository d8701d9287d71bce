-- GROUP: makes sure that a group exists.
--   KEYS[1]  the stream    KEYS[2]  the group's floor    KEYS[3]  its index of delayed messages
--   KEYS[4]  its reach: the highest id that it ever handed out
--   ARGV[1]  the group
--   ARGV[2]  consumer that holds delayed messages
--   ARGV[3]  id for a first creation on a stream that is there: `$` or an id
-- Returns {made, start, entries skipped, 1 if it had existed before, the reach}; {0, the reach} if it exists. The
-- reach is '' unless the group was made anew and has not got there again.
-- A group with a floor existed before and was lost: it starts again just below the floor. A floor above
-- the stream's last id belongs to an earlier stream of that name. Messages that wait until they are due
-- lie below the floor: the index knows them, and the group takes them back from it.
local stream, group, parked = KEYS[1], ARGV[1], ARGV[2]
local kind = redis.call('TYPE', stream).ok
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. stream .. ' holds a ' .. kind .. ', not a stream')
end

local function flat(list)
  local m = {}
  for i = 1, #list, 2 do m[list[i]] = list[i + 1] end
  return m
end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-?(%d*)$')
  if ms == nil then return nil end
  return ms, seq == '' and '0' or seq
end

local highest = '18446744073709551615'
local function count(seq) return tonumber(seq) or 1e19 end -- the embedded server reads no such number

local function above(a, b)
  local am, as = parts(a)
  local bm, bs = parts(b)
  am, as, bm, bs = tonumber(am), count(as), tonumber(bm), count(bs)
  return am > bm or am == bm and as > bs
end

-- below is the id just below, or a little further: a number of 16 digits is not counted exactly.
local function below(id)
  local ms, seq = parts(id)
  if ms == nil then return '0-0' end
  if seq ~= '0' then return ms .. '-' .. (#seq > 15 and '0' or string.format('%.0f', tonumber(seq) - 1)) end
  if tonumber(ms) == 0 then return '0-0' end
  return string.format('%.0f', tonumber(ms) - 1) .. '-' .. highest
end

-- following is the id just above, or a little less.
local function following(id)
  local ms, seq = parts(id)
  if seq == highest then return string.format('%.0f', tonumber(ms) + 1) .. '-0' end
  if #seq > 15 then return id end
  return ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
end

-- ahead is the reach, if it is above an id.
local function ahead(id)
  local reach = redis.call('GET', KEYS[4])
  return reach and above(reach, id) and reach or ''
end

local last = '0-0'
if kind == 'stream' then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local g = flat(info)
    if g.name == group then return { 0, ahead(g['last-delivered-id']) } end
  end
  last = flat(redis.call('XINFO', 'STREAM', stream))['last-generated-id']
  if not parts(last) then last = '0-0' end -- of a stream that never had an entry, the embedded server says nothing
end

local floor = redis.call('GET', KEYS[2])
local start, skipped = '0-0', 0
if kind == 'stream' and floor then
  start = below(floor)
  if above(start, last) then start = '0-0' end
elseif kind == 'stream' and ARGV[3] == '$' then
  start, skipped = last, redis.call('XLEN', stream)
elseif kind == 'stream' then
  start = ARGV[3]
end
redis.call('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
redis.call('SET', KEYS[2], following(start))
if not floor or ahead(last) ~= '' then redis.call('DEL', KEYS[4]) end -- of an earlier stream of that name

if floor then
  local ids = redis.call('ZRANGE', KEYS[3], 0, -1)
  for i = 1, #ids, 1000 do
    local claim = {}
    for j = i, math.min(i + 999, #ids) do claim[#claim + 1] = ids[j] end
    claim[#claim + 1] = 'FORCE'
    claim[#claim + 1] = 'JUSTID'
    redis.call('XCLAIM', stream, group, parked, 0, unpack(claim))
  end
end
return { 1, start, skipped, floor and 1 or 0, ahead(start) }
