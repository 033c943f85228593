-- What `tickets` keeps of a seat that is sold for good, as a Redis server does it: the lowest number that came back, else
-- the next one; a token that grows.
local number = redis.call('LPOP', 'came back') or redis.call('INCR', 'last number')
local token = redis.call('INCR', 'last token')
return tonumber(number)
