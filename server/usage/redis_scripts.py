"""The Lua scripts that Redis runs for server/usage/redis_limiter.py. Each is one decision and runs without interruption."""

from typing import Final

# KEYS: requests and tokens by the second, ids of running requests by the end of their lease, what they hold, what the period
# has cost, and, by process, the number of its last settlement: a process settles in the order of its numbers.
_TOOLS: Final = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local function window(key, room)
  local seconds, amounts, total = {}, redis.call('HGETALL', key), 0
  local by = {}
  for i = 1, #amounts, 2 do
    local second, amount = tonumber(amounts[i]), tonumber(amounts[i + 1])
    if second + 61 <= now then redis.call('HDEL', key, amounts[i])
    else seconds[#seconds + 1] = second; by[second] = amount; total = total + amount end
  end
  table.sort(seconds)
  local over, wait, reset = total - room, 0, 0
  for _, second in ipairs(seconds) do
    reset = math.ceil(second + 61 - now)
    if over > 0 then wait = reset end
    over = over - by[second]
  end
  return total, wait, reset
end
local function add(key, amount)
  if amount > 0 then
    redis.call('HINCRBY', key, t[1], amount)
    redis.call('EXPIRE', key, 120)
  end
end
"""
# Reserve for a new request, or, where `id` is reserved already, replace what it holds.
RESERVE: Final = (
    _TOOLS
    + """
local rpm, tpm, most, budget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local tokens, cost, id, period = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
  redis.call('ZREM', KEYS[3], dead)
  redis.call('HDEL', KEYS[4], dead)
end
local heldTokens, heldCost = 0, 0
if tpm > 0 or budget > 0 then
  local all = redis.call('HGETALL', KEYS[4])
  for i = 1, #all, 2 do
    local a, b, of = string.match(all[i + 1], '^(%d+) (%d+) (.*)$')
    if all[i] ~= id then
      heldTokens = heldTokens + tonumber(a)
      if period == 'total' or string.sub(of, 1, #period) == period then heldCost = heldCost + tonumber(b) end
    end
  end
end
local spent = 0
if budget > 0 then
  if redis.call('SETNX', KEYS[5], ARGV[9]) == 1 and tonumber(ARGV[10]) > 0 then redis.call('EXPIRE', KEYS[5], ARGV[10]) end
  spent = tonumber(redis.call('GET', KEYS[5]))
end
local sent, waitSent, resetSent = window(KEYS[1], rpm - 1)
local used, waitUsed, resetUsed = window(KEYS[2], tpm - heldTokens - tokens)
local verdict, wait = 'ok', 0
if most > 0 and redis.call('ZCARD', KEYS[3]) >= most then verdict, wait = 'concurrency', 1
elseif rpm > 0 and waitSent > 0 then verdict, wait = 'rpm', waitSent
elseif tpm > 0 and used + heldTokens + tokens > tpm then verdict, wait = 'tpm', math.max(waitUsed, 1)
elseif budget > 0 and cost > 0 and spent + heldCost + cost > budget then verdict = 'budget'
else
  if rpm > 0 then add(KEYS[1], 1); sent = sent + 1; resetSent = 61 end
  redis.call('ZADD', KEYS[3], string.format('%.3f', now + tonumber(ARGV[11])), id)
  redis.call('HSET', KEYS[4], id, ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. ARGV[12])
  redis.call('EXPIRE', KEYS[3], 86400)
  redis.call('EXPIRE', KEYS[4], 86400)
  heldTokens = heldTokens + tokens
end
return {verdict, wait, sent, resetSent, used + heldTokens, math.max(resetUsed, heldTokens > 0 and 1 or 0), spent, heldCost}
"""
)
SETTLE: Final = (
    _TOOLS
    + """
local id, tokens, cost, tpm, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local process, number = ARGV[7], tonumber(ARGV[8])
if number <= tonumber(redis.call('HGET', KEYS[6], process) or '0') then return -1 end
redis.call('HSET', KEYS[6], process, number)
redis.call('EXPIRE', KEYS[6], 30 * 86400)
redis.call('ZREM', KEYS[3], id)
redis.call('HDEL', KEYS[4], id)
if tpm > 0 then add(KEYS[2], tokens) end
if cost == 0 then return -1 end
redis.call('SETNX', KEYS[5], ARGV[6])
local spent = redis.call('INCRBY', KEYS[5], cost)
if ttl > 0 then redis.call('EXPIRE', KEYS[5], ttl) end
return spent
"""
)
# A budget begins to hold: its period has cost at least what the ledger of one process says.
RAISE: Final = """
local known, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local spent = tonumber(redis.call('GET', KEYS[5]) or '0')
if spent < known then
  redis.call('SET', KEYS[5], ARGV[1])
  if ttl > 0 then redis.call('EXPIRE', KEYS[5], ARGV[2]) end
  return known
end
return spent
"""
RENEW: Final = (
    _TOOLS
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[3], 'XX', string.format('%.3f', now + tonumber(ARGV[1])), ARGV[i]) end
return 1
"""
)
