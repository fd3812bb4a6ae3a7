"""The two Lua scripts of the Redis ledger; commands of Redis 6.2 and later.

`taken` holds two fields for each second, `r<second>` and `t<second>`: requests and tokens. `spent` holds a
field for each day: nano-dollars. A hold is a string, `<second> <day> <tokens> <nano-dollars>`. The arithmetic
is that of `window.py`, and one contract test suite runs against both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name that Redis gives it."""

    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# Lua writes large numbers in scientific notation, which Redis does not take for integers.
_COMMON = """
local function whole(number) return string.format('%.0f', number) end
local now = tonumber(ARGV[1])
if now < 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local second = math.floor(now)
local function keep()
  redis.call('EXPIRE', KEYS[1], 120)
  redis.call('EXPIRE', KEYS[2], 259200)
end
"""

RESERVE = _script(
    _COMMON
    + """
local rpm, tpm, budget = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local tokens, least_tokens = tonumber(ARGV[5]), tonumber(ARGV[6])
local money, least_money = tonumber(ARGV[7]), tonumber(ARGV[8])
local day = math.floor(now / 86400)
local first = second - 60
local sums, last, taken, old = {r = 0, t = 0}, {r = -1, t = -1}, {r = {}, t = {}}, {}
local fields = redis.call('HGETALL', KEYS[1])
for at = 1, #fields, 2 do
  local kind, when = string.sub(fields[at], 1, 1), tonumber(string.sub(fields[at], 2))
  local amount = tonumber(fields[at + 1])
  if when < first then
    old[#old + 1] = fields[at]
  elseif amount > 0 then
    sums[kind] = sums[kind] + amount
    last[kind] = math.max(last[kind], when)
    taken[kind][#taken[kind] + 1] = {when, amount}
  end
end
local spent = budget >= 0 and tonumber(redis.call('HGET', KEYS[2], whole(day)) or 0) or 0

local function answer(kind, retry_s)
  return {kind, math.floor(now * 1000), retry_s < 0 and -1 or math.ceil(retry_s * 1000), second, day,
          tokens, money, sums.r, sums.t, last.r, last.t, spent}
end
local function wait(kind, excess)
  table.sort(taken[kind], function(a, b) return a[1] < b[1] end)
  for _, one in ipairs(taken[kind]) do
    excess = excess - one[2]
    if excess <= 0 then return math.max(0, one[1] + 61 - now) end
  end
  return 60
end

if rpm >= 0 and sums.r >= rpm then
  return answer(1, wait('r', sums.r + 1 - rpm))
end
if tpm >= 0 then
  tokens = math.min(tokens, tpm - sums.t)
  if tokens < least_tokens then
    return answer(2, least_tokens > tpm and -1 or wait('t', sums.t + least_tokens - tpm))
  end
end
if budget >= 0 then
  money = math.min(money, budget - spent)
  if money < least_money then
    return answer(3, least_money > budget and -1 or 86400 - now % 86400)
  end
end
if #old > 0 then redis.call('HDEL', KEYS[1], unpack(old)) end
redis.call('HINCRBY', KEYS[1], 'r' .. whole(second), 1)
if tokens > 0 then redis.call('HINCRBY', KEYS[1], 't' .. whole(second), whole(tokens)) end
if money > 0 then redis.call('HINCRBY', KEYS[2], whole(day), whole(money)) end
local hold = whole(second) .. ' ' .. whole(day) .. ' ' .. whole(tokens) .. ' ' .. whole(money)
redis.call('SET', KEYS[3], hold, 'EX', 86400)
keep()
return answer(0, -1)
"""
)

SETTLE = _script(
    _COMMON
    + """
local hold = redis.call('GET', KEYS[3])
if not hold then return 0 end
redis.call('DEL', KEYS[3])
local then_s, day, tokens, money = string.match(hold, '(%d+) (%d+) (%d+) (%d+)')
local function give_back(field, amount)
  -- A second that has left the window must not come back with less than nothing in it.
  if amount > 0 and redis.call('HEXISTS', KEYS[1], field) == 1 then
    redis.call('HINCRBY', KEYS[1], field, whole(-amount))
  end
end
give_back('r' .. then_s, 1 - tonumber(ARGV[2]))
local more = tonumber(ARGV[3]) - tonumber(tokens)
give_back('t' .. then_s, -more)
if more > 0 then redis.call('HINCRBY', KEYS[1], 't' .. whole(second), whole(more)) end
local dearer = tonumber(ARGV[4]) - tonumber(money)
if dearer ~= 0 then redis.call('HINCRBY', KEYS[2], day, whole(dearer)) end
keep()
return 1
"""
)
