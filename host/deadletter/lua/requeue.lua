-- Moves a dead letter to a stream, both or nothing.
--
-- KEYS     [1] the dead-letter queue, [2] the stream, [3] the audit, if there is one
-- ARGV     [1] the dead letter's id, [2] the stream's name, [3] see audit
--          [4] how many of the next are the audit event; 0: it is not audited
--          then the event's names and values, then those of the new entry
-- returns  the new entry's id, or '' if the dead letter is gone
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return '' end
-- Who may not delete must not add: this fails for whom XDEL would fail later.
redis.call('XDEL', KEYS[1], '0-0')
local n = tonumber(ARGV[4])
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', '*', unpack(ARGV, 5 + n))
if not id then return redis.error_reply('NOSTREAM the stream does not exist') end
redis.call('XDEL', KEYS[1], ARGV[1])
audit(KEYS[3], 5, n, ARGV[3], ARGV[2] .. '/' .. id)
return id
