-- Takes entries off a stream that no group was given yet, in one step: so no
-- host is given one meanwhile.
-- KEYS: stream
-- ARGV: entry ids
-- returns how many were removed
local function after(a, b)
  local at, an = a:match('^(%d+)-(%d+)$')
  local bt, bn = b:match('^(%d+)-(%d+)$')
  at, an, bt, bn = tonumber(at), tonumber(an), tonumber(bt), tonumber(bn)
  return at > bt or at == bt and an > bn
end
local given = '0-0'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' and after(group[i + 1], given) then given = group[i + 1] end
  end
end
local removed = 0
for _, id in ipairs(ARGV) do
  if after(id, given) then removed = removed + redis.call('XDEL', KEYS[1], id) end
end
return removed
