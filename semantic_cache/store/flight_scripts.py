"""Calls under way on a Redis server: their keys, and the scripts that change them in one step.

All of it lies in the tenant's slot and goes away by itself, a few seconds after the last sign of life:

    forebay:cache:1:{TAG}:f:DIGEST:KIND           the lease: its leader's token
    forebay:cache:1:{TAG}:f:DIGEST:KIND:TOKEN:r   set of those who follow that leader
    forebay:cache:1:{TAG}:f:DIGEST:KIND:TOKEN:s   stream of what the leader tells them, numbered from 1

A token begins with its gateway's name and a dot: whoever finds the lease taken tells the gateway on its own
channel that he follows. What a script names itself is in the slot of its declared keys.
"""

from __future__ import annotations

from semantic_cache.store.redis_scripts import PREFIX, Script, key_of

CHANNELS = f"{PREFIX}flights:"
"""What the names of the gateways' channels begin with."""


def lease_key(tag: str, member: str, kind: str) -> str:
    """Return where the lease of a key lies; `kind` tells apart answers that travel differently."""
    return key_of(tag, f"f:{member}:{kind}")


def _script(source: str) -> Script:
    return Script(source, common="")


# A server that lets this user publish nothing still shares calls: the leader looks by itself now and then.
TAKE = _script("""
local lease, token, reader, left = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('SET', lease, token, 'NX', 'PX', left) then
  return {token, redis.call('EXISTS', KEYS[2])}
end
local holder = redis.call('GET', lease)
local readers = lease .. ':' .. holder .. ':r'
redis.call('SADD', readers, reader)
redis.call('PEXPIRE', readers, left)
redis.pcall('PUBLISH', ARGV[4] .. string.match(holder, '^[^.]*'), holder)
return {holder, 0}
""")
"""Keys: lease, entry. Takes the lease with a token, for so many milliseconds, or follows who has it; the last
argument is CHANNELS. Answers whose token it is, and whether the entry is there for one who took it."""

RENEW = _script("""
local held = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if not held and redis.call('GET', KEYS[1]) == ARGV[1] then
  held = redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return {held and 1 or 0, redis.call('SCARD', KEYS[2])}
""")
"""Keys: lease, readers, stream. Holds on to the lease, or takes it again if it is nobody's. Answers whether
it is ours, and how many follow."""

TELL = _script("""
local stream, number = KEYS[2], tonumber(ARGV[2])
local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
if not last or tonumber(string.match(last[1], '^%d+')) < number then
  redis.call('XADD', stream, 'MINID', '=', ARGV[3] .. '-0', number .. '-1', 'm', ARGV[4])
end
redis.call('PEXPIRE', stream, ARGV[5])
if ARGV[6] == '1' and redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
""")
"""Keys: lease, stream. Adds a message under its number, once however often it is sent, and drops those before
another number; then gives the lease up, if so asked."""

RELEASE = _script("""
local readers = redis.call('SCARD', KEYS[2])
if readers > 0 and ARGV[2] == '0' then return readers end
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
""")
"""Keys: lease, readers. Gives the lease up, unless somebody follows who has been told nothing (second
argument 0): then it answers how many they are."""

STAY = _script("""
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
""")
"""Keys: lease, readers. Follows for so many more milliseconds; answers whether the leader has its lease."""

LEAVE = _script("return redis.call('SREM', KEYS[1], ARGV[1])")
"""Key: readers. Follows no longer."""

ANY_READER = _script("return redis.call('SRANDMEMBER', KEYS[1])")
"""Key: readers. Answers one of those who follow."""
