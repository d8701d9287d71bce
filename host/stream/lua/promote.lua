-- PROMOTE: adds to their streams the entries that are due, those of a stream in the order of their times.
--   KEYS     for each stream: the index of its entries for later, by due time in ms; then the stream itself
--   ARGV[1]  the most entries to add     ARGV[2]  bytes after which it stops
-- A member of an index is a name that no other has, a line feed, the lengths of the entry's names and values
-- with spaces between, a line feed, and the names and values.
-- Returns how many were added, 1 if more may be due, and then for each stream that cannot take its entries:
-- its place in KEYS, and why.
-- An entry is added and leaves the index in one step: so it appears once, however often and by whomever this
-- is run.
local t = redis.call('TIME')
local now = t[1] .. string.format('%03d', math.floor(tonumber(t[2]) / 1000))
local room, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local added, size, problems = 0, 0, {}

local function failed(r) return type(r) == 'table' and r.err ~= nil end

-- unpacked gives names and values of a member.
local function unpacked(member)
  local name = string.find(member, '\n', 1, true)
  local head = string.find(member, '\n', name + 1, true)
  local fields, from = {}, head + 1
  for n in string.gmatch(string.sub(member, name + 1, head - 1), '%d+') do
    fields[#fields + 1] = string.sub(member, from, from + tonumber(n) - 1)
    from = from + tonumber(n)
  end
  return fields
end

local function full() return added >= room or size >= bytes end

-- promote adds what is due for a stream, as far as there is room. It gives the error, if there is one.
local function promote(index, stream)
  while not full() do
    local due = redis.pcall('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, 1)
    if failed(due) then return due.err end
    if #due == 0 then return nil end
    local id = redis.pcall('XADD', stream, '*', unpack(unpacked(due[1])))
    if failed(id) then return id.err end
    redis.call('ZREM', index, due[1])
    added, size = added + 1, size + #due[1]
  end
  return nil
end

for i = 1, #KEYS, 2 do
  local problem = promote(KEYS[i], KEYS[i + 1])
  if problem then
    problems[#problems + 1] = i
    problems[#problems + 1] = problem
  end
end
return { added, full() and 1 or 0, unpack(problems) }
