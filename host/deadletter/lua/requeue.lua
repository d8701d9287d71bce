-- Moves a dead letter to a stream, both or nothing.
--
-- KEYS     [1] the dead-letter queue, [2] the stream
-- ARGV     [1] the dead letter's id, then the names and values of the new entry
-- returns  the new entry's id, or '' if the dead letter is gone
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return '' end
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', '*', unpack(ARGV, 2))
if not id then return redis.error_reply('NOSTREAM the stream does not exist') end
redis.call('XDEL', KEYS[1], ARGV[1])
return id
