-- Begins the cart anew at a seq, if its applied_seq is still what the caller saw. KEYS: lines, selected, applied_seq.
-- ARGV: the applied_seq that was seen ('' for none), the new one, 'keep' or 'drop' for the lines that are there.
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[1] then
    return 0
end
if ARGV[3] == 'drop' then
    redis.call('DEL', KEYS[1], KEYS[2])
end
redis.call('SET', KEYS[3], ARGV[2])
return 1
