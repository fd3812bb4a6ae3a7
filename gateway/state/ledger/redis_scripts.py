"""The two Lua scripts of the Redis ledger; commands of Redis 6.2 and later.

`taken` holds two fields for each second, `r<second>` and `t<second>`: requests and tokens. `spent` holds a
field for each day: nano-dollars. Each lease has a hold, a string of its second, its day and what has been
recorded of it, in the order of `lease.Report`. The arithmetic is that of `window.py`, and one contract test
suite runs against both.

KEYS: taken, spent, the holds that are reported on; for TAKE at the end that of the new lease.
ARGV: Unix time or -1 for the server's own; a report for each hold, with 1 at its end if it is the last one,
or else 0; for TAKE then the limits (-1 for none), tokens and nano-dollars of one request with the least of
each, and the most requests.
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

-- What is charged in the second and day of a lease only falls, what is charged beyond only rises: a report
-- that comes twice or too late changes nothing.
local function settle(key, report)
  local held = redis.call('GET', key)
  local is, says = {}, {}
  for number in string.gmatch(held or '', '%d+') do is[#is + 1] = tonumber(number) end
  for number in string.gmatch(report, '%d+') do says[#says + 1] = tonumber(number) end
  if #is == 0 then
    -- It may have overtaken the script that takes the lease, which then must not take it.
    if says[1] == 0 and says[6] == 1 then redis.call('SET', key, '', 'EX', 60) end
    return
  end
  local then_s, day = is[1], is[2]
  local to = {then_s, day}
  for at = 1, 3 do to[at + 2] = math.min(is[at + 2], says[at]) end
  for at = 4, 5 do to[at + 2] = math.max(is[at + 2], says[at]) end
  local function give_back(field, amount)
    -- A second that has left the window must not come back with less than nothing in it.
    if amount > 0 and redis.call('HEXISTS', KEYS[1], field) == 1 then
      redis.call('HINCRBY', KEYS[1], field, whole(-amount))
    end
  end
  give_back('r' .. whole(then_s), is[3] - to[3])
  give_back('t' .. whole(then_s), is[4] - to[4])
  local more = to[6] - is[6]
  if more > 0 then redis.call('HINCRBY', KEYS[1], 't' .. whole(second), whole(more)) end
  local dearer = to[5] - is[5] + to[7] - is[7]
  if dearer ~= 0 then redis.call('HINCRBY', KEYS[2], whole(day), whole(dearer)) end
  if says[6] == 1 then
    redis.call('DEL', key)
  else
    for at = 1, 7 do to[at] = whole(to[at]) end
    redis.call('SET', key, table.concat(to, ' '), 'KEEPTTL')
  end
end
"""

TAKE = _script(
    _COMMON
    + """
local reports = #KEYS - 3
for at = 1, reports do settle(KEYS[at + 2], ARGV[at + 1]) end
if redis.call('EXISTS', KEYS[#KEYS]) == 1 then return redis.error_reply('GONE nobody waits for it') end

local function given(at) return tonumber(ARGV[reports + 1 + at]) end
local rpm, tpm, budget = given(1), given(2), given(3)
local tokens, least_tokens, money, least_money = given(4), given(5), given(6), given(7)
local times, room = given(8), 1
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
  return {kind, math.floor(now * 1000000), retry_s < 0 and -1 or math.ceil(retry_s * 1000), second, day,
          times, tokens, money, room, sums.r, sums.t, last.r, last.t, spent}
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

room = math.huge
local function bound(limit, used, each)
  if limit < 0 then return end
  local most = 2 * used < limit and math.floor((limit - used) / 16 / math.max(1, each)) or 0
  room = math.min(room, most)
end
bound(rpm, sums.r, 1)
bound(tpm, sums.t, tokens)
bound(budget, spent, money)
room = room < math.huge and math.max(1, room) or 1
times = math.min(times, room)
tokens, money = times * tokens, times * money

if #old > 0 then redis.call('HDEL', KEYS[1], unpack(old)) end
redis.call('HINCRBY', KEYS[1], 'r' .. whole(second), times)
if tokens > 0 then redis.call('HINCRBY', KEYS[1], 't' .. whole(second), whole(tokens)) end
if money > 0 then redis.call('HINCRBY', KEYS[2], whole(day), whole(money)) end
local hold = {second, day, times, tokens, money, 0, 0}
for at = 1, 7 do hold[at] = whole(hold[at]) end
redis.call('SET', KEYS[#KEYS], table.concat(hold, ' '), 'EX', 86400)
keep()
return answer(0, -1)
"""
)

SETTLE = _script(
    _COMMON
    + """
for at = 1, #KEYS - 2 do settle(KEYS[at + 2], ARGV[at + 1]) end
keep()
"""
)
