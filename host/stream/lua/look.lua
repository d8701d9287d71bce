-- LOOK: of several groups, which may have something to take over or to write down; the one request of an idle
-- second.
--   KEYS  for each group: its stream, the floor, the reach, the index of delayed messages
--   ARGV[1]  consumer that holds delayed messages     ARGV[2]...  the groups
-- Returns for each group '' if SCAN may find something: what is pending may have to be taken over, a delayed
-- message is due, or the group is gone. Else what SCAN has looked at: as long as it does not change, SCAN
-- has nothing to give and nothing to write.
local t = redis.call('TIME')
local now = t[1] .. string.format('%03d', math.floor(tonumber(t[2]) / 1000))
local parked = ARGV[1]

local function failed(r) return type(r) == 'table' and r.err ~= nil end

-- find gives how many messages of the group are pending, and the id that it handed out last; nil without it.
local function find(stream, group)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if failed(groups) then return nil end
  for _, info in ipairs(groups) do
    local g = {}
    for i = 1, #info, 2 do g[info[i]] = info[i + 1] end
    if g.name == group then return tonumber(g.pending), g['last-delivered-id'] end
  end
  return nil
end

-- asleep says whether all that is pending is delayed.
local function asleep(stream, group, pending)
  if pending == 0 then return true end
  for _, consumer in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do
    if consumer[1] == parked then return tonumber(consumer[2]) == pending end
  end
  return false
end

local function value(key)
  local v = redis.pcall('GET', key)
  if failed(v) then return '' end
  return v or ''
end

local function look(stream, floor, reach, index, group)
  local pending, delivered = find(stream, group)
  if pending == nil or not asleep(stream, group, pending) then return '' end
  local due = redis.pcall('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, 1)
  if failed(due) or #due > 0 then return '' end
  return delivered .. ' ' .. value(floor) .. ' ' .. value(reach)
end

local seen = {}
for i = 2, #ARGV do
  local k = 4 * (i - 2)
  seen[i - 1] = look(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], ARGV[i])
end
return seen
