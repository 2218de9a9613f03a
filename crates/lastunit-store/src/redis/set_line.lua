-- Puts a line into the cart or changes it. KEYS: lines, selected, applied_seq.
-- ARGV: the cart's seq, SKU, units, 1 if selected, the most lines a cart takes.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
    return {'behind', {}, {}}
end
redis.call('SCARD', KEYS[2])
local is_new = redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0
if is_new and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
    return {'full', {}, {}}
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call(ARGV[4] == '1' and 'SADD' or 'SREM', KEYS[2], ARGV[2])
return {'done', redis.call('HGETALL', KEYS[1]), redis.call('SMEMBERS', KEYS[2])}
