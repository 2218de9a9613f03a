-- Takes out what the next order took; 1 if it was the next. KEYS: lines, selected, applied_seq.
-- ARGV: its seq less one, its seq, then a SKU and its units for each of its lines.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
    return 0
end
local left = {}
for at = 3, #ARGV, 2 do
    left[at] = (tonumber(redis.call('HGET', KEYS[1], ARGV[at])) or 0) - tonumber(ARGV[at + 1])
end
-- First what may fail, on a key of another type: Redis undoes nothing.
for at = 3, #ARGV, 2 do
    if left[at] <= 0 then
        redis.call('SREM', KEYS[2], ARGV[at])
    end
end
for at = 3, #ARGV, 2 do
    if left[at] > 0 then
        redis.call('HSET', KEYS[1], ARGV[at], string.format('%d', left[at]))
    else
        redis.call('HDEL', KEYS[1], ARGV[at])
    end
end
redis.call('SET', KEYS[3], ARGV[2])
return 1
