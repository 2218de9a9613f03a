-- Takes one line out of the cart, or all. KEYS: lines, selected, applied_seq. ARGV: the cart's seq, SKU or ''.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
    return {'behind', {}, {}}
end
redis.call('SCARD', KEYS[2])
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1], KEYS[2])
else
    redis.call('HDEL', KEYS[1], ARGV[2])
    redis.call('SREM', KEYS[2], ARGV[2])
end
return {'done', redis.call('HGETALL', KEYS[1]), redis.call('SMEMBERS', KEYS[2])}
