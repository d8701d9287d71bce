-- Looks at streams and their groups, without sending entries to the caller.
--
-- KEYS     the streams
-- returns  the time in milliseconds, then for each stream
--          {type, length, added, first id, last id, groups}, and for each group
--          {name, consumers, pending, lag, oldest pending id, oldest undelivered id}
--          Ids are '' where there is none, counts -1 where Redis does not know.

local function map(flat)
  local m = {}
  for i = 1, #flat, 2 do m[flat[i]] = flat[i + 1] end
  return m
end

local function first_id(entries) return entries[1] and entries[1][1] or '' end

local function before(a, b)
  if a == '' or b == '' then return b == '' end
  local ams, aseq = string.match(a, '^(%d+)-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)-(%d+)$')
  if ams ~= bms then return tonumber(ams) < tonumber(bms) end
  return tonumber(aseq) < tonumber(bseq)
end

-- waiting is what the group has handed out and not decided, and the oldest of it,
-- without what is put off until it is due: that is the consumer `parked`'s.
local function waiting(key, name)
  local all = redis.call('XPENDING', key, name)
  local count, oldest, parked = all[1], all[2] or '', 0
  for _, consumer in ipairs(all[4] or {}) do
    if consumer[1] == 'parked' then parked = tonumber(consumer[2]) end
  end
  if parked == 0 then return count, oldest end
  oldest = ''
  for _, consumer in ipairs(all[4]) do
    if consumer[1] ~= 'parked' then
      local first = redis.call('XPENDING', key, name, '-', '+', 1, consumer[1])[1]
      if first and before(first[1], oldest) then oldest = first[1] end
    end
  end
  return count - parked, oldest
end

local function group(key, info)
  local g = map(info)
  local pending, oldest = waiting(key, g.name)
  local undelivered = first_id(redis.call('XRANGE', key, '(' .. g['last-delivered-id'], '+', 'COUNT', 1))
  local lag = g.lag or -1
  if undelivered == '' then lag = 0 end -- whatever Redis counted: there is nothing to read
  return {g.name, g.consumers, pending, lag, oldest, undelivered}
end

local function stream(key)
  local kind = redis.call('TYPE', key)
  kind = kind.ok or kind
  if kind ~= 'stream' then return {kind, 0, -1, '', '', {}} end
  local groups = {}
  for i, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do groups[i] = group(key, info) end
  local added = map(redis.call('XINFO', 'STREAM', key))['entries-added'] or -1
  return {
    kind, redis.call('XLEN', key), added,
    first_id(redis.call('XRANGE', key, '-', '+', 'COUNT', 1)),
    first_id(redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)),
    groups,
  }
end

local now = redis.call('TIME')
local out = {now[1] * 1000 + math.floor(now[2] / 1000)}
for i, key in ipairs(KEYS) do out[i + 1] = stream(key) end
return out
