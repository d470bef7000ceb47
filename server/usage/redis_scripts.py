"""The Lua scripts that Redis runs for server/usage/redis_limiter.py. Each is one decision and runs without interruption."""

from typing import Final

# KEYS: ids of running requests by the end of their lease, what they hold, what the period has cost, and, by process, the number
# of its last settlement: a process settles in the order of its numbers. Behind them a hash for each sliding window: the amount
# by the second.
_TOOLS: Final = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local function window(key, room, span)
  local seconds, amounts, total = {}, redis.call('HGETALL', key), 0
  local by = {}
  for i = 1, #amounts, 2 do
    local second, amount = tonumber(amounts[i]), tonumber(amounts[i + 1])
    if second + span + 1 <= now then redis.call('HDEL', key, amounts[i])
    else seconds[#seconds + 1] = second; by[second] = amount; total = total + amount end
  end
  table.sort(seconds)
  local over, wait, reset = total - room, 0, 0
  for _, second in ipairs(seconds) do
    reset = math.ceil(second + span + 1 - now)
    if over > 0 then wait = reset end
    over = over - by[second]
  end
  return total, wait, reset
end
local function add(key, amount, span)
  if amount > 0 then
    redis.call('HINCRBY', key, t[1], amount)
    redis.call('EXPIRE', key, 2 * span)
  end
end
"""
# Reserve for a new request, or, where `id` is reserved already, replace what it holds. ARGV: JSON, of _eval_reserve;
# each of `rows` is a limit (gateway/limits.py). Returns the name of the first limit that does not cover the request, or `ok`, the
# seconds to wait, what the period has cost, what of it is reserved, and for each row what is used and when nothing is.
RESERVE: Final = (
    _TOOLS
    + """
local a = cjson.decode(ARGV[1])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
local held = {requests = redis.call('ZCARD', KEYS[1]), tokens = 0, cost = 0}
if a.need_estimate then
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    local tokens, cost, of = string.match(all[i + 1], '^(%d+) (%d+) (.*)$')
    if all[i] ~= a.id then
      held.tokens = held.tokens + tonumber(tokens)
      if a.period == 'total' or string.sub(of, 1, #a.period) == a.period then held.cost = held.cost + tonumber(cost) end
    end
  end
end
local verdict, wait, spent, told = 'ok', 0, 0, {}
for i, row in ipairs(a.rows) do
  local needed, used, pause, reset = a.needed[row.unit], 0, 1, 0
  if row.over == 'now' then used = held[row.unit]
  elseif row.over == 'period' then
    if redis.call('SETNX', KEYS[3], a.known) == 1 and a.ttl > 0 then redis.call('EXPIRE', KEYS[3], a.ttl) end
    spent = tonumber(redis.call('GET', KEYS[3]))
    used = spent + held.cost
  else
    local also = row.at_begin and 0 or held[row.unit]
    used, pause, reset = window(KEYS[row.key], row.cap - also - needed, row.over)
    used = used + also
  end
  if verdict == 'ok' and used + needed > row.cap and (needed > 0 or row.over ~= 'period') then verdict, wait = row.name, pause end
  told[i] = {used, reset}
end
if verdict == 'ok' then
  for i, row in ipairs(a.rows) do
    if row.key then
      told[i][1] = told[i][1] + a.needed[row.unit]
      if row.at_begin then add(KEYS[row.key], a.needed[row.unit], row.over); told[i][2] = row.over + 1 end
    end
  end
  redis.call('ZADD', KEYS[1], string.format('%.3f', now + a.lease), a.id)
  redis.call('HSET', KEYS[2], a.id, string.format('%.0f %.0f %s', a.needed.tokens, a.needed.cost, a.day))
  redis.call('EXPIRE', KEYS[1], 86400)
  redis.call('EXPIRE', KEYS[2], 86400)
end
return {verdict, wait, spent, held.cost, told}
"""
)
# Release what a request holds, and count what it has used. ARGV: JSON, see RedisLimiter._release. Returns what the period has
# cost, or -1.
SETTLE: Final = (
    _TOOLS
    + """
local a = cjson.decode(ARGV[1])
if a.number <= tonumber(redis.call('HGET', KEYS[4], a.process) or '0') then return -1 end
redis.call('HSET', KEYS[4], a.process, a.number)
redis.call('EXPIRE', KEYS[4], 30 * 86400)
redis.call('ZREM', KEYS[1], a.id)
redis.call('HDEL', KEYS[2], a.id)
for _, row in ipairs(a.rows) do add(KEYS[row.key], a.tokens, row.over) end
if a.cost == 0 then return -1 end
redis.call('SETNX', KEYS[3], a.known)
local spent = redis.call('INCRBY', KEYS[3], a.cost)
if a.ttl > 0 then redis.call('EXPIRE', KEYS[3], a.ttl) end
return spent
"""
)
# A budget begins to hold: its period has cost at least what the ledger of one process says.
RAISE: Final = """
local known, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local spent = tonumber(redis.call('GET', KEYS[3]) or '0')
if spent < known then
  redis.call('SET', KEYS[3], ARGV[1])
  if ttl > 0 then redis.call('EXPIRE', KEYS[3], ARGV[2]) end
  return known
end
return spent
"""
RENEW: Final = (
    _TOOLS
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', string.format('%.3f', now + tonumber(ARGV[1])), ARGV[i]) end
return 1
"""
)
