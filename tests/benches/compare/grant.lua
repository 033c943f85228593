-- One grant, as a Redis server makes it: the lowest number that came back, else the next one; a token that grows; who
-- holds it; until when.
local number = redis.call('LPOP', 'free') or redis.call('INCR', 'next')
local token = redis.call('INCR', 'token')
redis.call('HSET', 'held', number, token)
redis.call('ZADD', 'until', ARGV[1], number)
return tonumber(number)
