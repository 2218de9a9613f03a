-- The cart as it stands. KEYS: lines, selected, applied_seq.
return {
    redis.call('GET', KEYS[3]) or '',
    redis.call('HGETALL', KEYS[1]),
    redis.call('SMEMBERS', KEYS[2]),
}
