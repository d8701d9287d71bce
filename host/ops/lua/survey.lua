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

local function group(key, info)
  local g = map(info)
  local pending = redis.call('XPENDING', key, g.name)
  local undelivered = first_id(redis.call('XRANGE', key, '(' .. g['last-delivered-id'], '+', 'COUNT', 1))
  local lag = g.lag or -1
  if undelivered == '' then lag = 0 end -- whatever Redis counted: there is nothing to read
  return {g.name, g.consumers, g.pending, lag, pending[2] or '', undelivered}
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
