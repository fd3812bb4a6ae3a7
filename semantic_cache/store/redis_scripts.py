"""The Redis store's keys, and the scripts that change an entry together with its tenant's index.

All keys of a tenant share a hash tag, so in a cluster they lie in one slot and a script may touch them:

    forebay:cache:1:{TAG}:e:DIGEST   the entry, with its own time to live
    forebay:cache:1:{TAG}:used       sorted set: digest by last use, in milliseconds
    forebay:cache:1:{TAG}:until      sorted set: digest by the end of its time, in milliseconds
    forebay:cache:1:{TAG}:sizes      hash: digest to bytes
    forebay:cache:1:{TAG}:bytes      sum of the sizes
    forebay:cache:1:{TAG}:records    hash: digest to the semantic tier's record
    forebay:cache:1:{TAG}:learnt     hash: digest to what was learnt about it
    forebay:cache:1:{TAG}:changes    stream of the records' digests, as they change; see below
    forebay:cache:1:{TAG}:seq        number of the last change
    forebay:cache:1:{TAG}:epochs     the tenant's epochs
    forebay:cache:1:{TAG}:tenant     the tenant's name
    forebay:cache:1:{TAG}:f:…        calls under way, see `flight_scripts.py`
    forebay:cache:1:tenants          hash: TAG to "entries bytes", as of the tenant's last change

An entry that Redis drops at its time stays in the index until the next script comes by and takes it out. The
scripts name the entries that they evict themselves; those are in the slot of the declared keys.

A change's id in the stream is its number, so a follower sees whether one is missing (trimmed), and by `seq`
alone whether there is a new one, or all is another server's. Its one field is the digest of the record,
EPOCHS or CLEARED. It is written by whatever script makes the change, so neither is ever there without the
other.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from hashlib import sha1, sha256

from semantic_cache.store.feed import KEPT_CHANGES

EPOCHS, CLEARED = "", "*"
PREFIX = "forebay:cache:1:"
TENANTS = f"{PREFIX}tenants"


@lru_cache(maxsize=1024)
def tag_of(tenant: str) -> str:
    """Return the hash tag of a tenant: whatever its name holds, it neither breaks a key nor shows in it."""
    return sha256(tenant.encode()).hexdigest()[:24]


def member_of(digest: bytes) -> str:
    """Return a key's digest as it stands in names and indexes."""
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def digest_of(member: bytes) -> bytes:
    """Return the digest that a member stands for."""
    return urlsafe_b64decode(member + b"=" * (-len(member) % 4))


def entry_prefix(tag: str) -> str:
    """Return what the names of a tenant's entries begin with."""
    return f"{PREFIX}{{{tag}}}:e:"


_INDEX = ("used", "until", "sizes", "bytes", "records", "learnt")


def key_of(tag: str, part: str) -> str:
    """Return the key of a part of what is kept about a tenant."""
    return f"{PREFIX}{{{tag}}}:{part}"


def script_keys(tag: str) -> list[str]:
    """Return a tenant's keys in the order that the scripts take them."""
    return [key_of(tag, part) for part in (*_INDEX, "changes", "seq", "epochs", "tenant")]


_COMMON = """
local used, ends, sizes, bytes, records, learnt = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local function changed(member)
  local number = redis.call('INCR', KEYS[8])
  redis.call('XADD', KEYS[7], 'MAXLEN', '~', KEPT_CHANGES, number .. '-1', 'm', member)
end

local function forget(member)
  if redis.call('HDEL', records, member) == 1 then
    redis.call('HDEL', learnt, member)
    changed(member)
  end
  local size = redis.call('HGET', sizes, member)
  if size then
    redis.call('HDEL', sizes, member)
    redis.call('DECRBY', bytes, size)
  end
  redis.call('ZREM', used, member)
  redis.call('ZREM', ends, member)
end

local function held()
  local entries = redis.call('ZCARD', used)
  if entries == 0 then redis.call('DEL', ends, sizes, bytes, records, learnt) end
  return entries, tonumber(redis.call('GET', bytes) or '0')
end

local function drop_expired(now)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 1000)) do
    forget(member)
  end
end

local function trim(prefix, most, most_bytes, low, low_bytes)
  local evicted = 0
  local entries, size = held()
  if entries <= most and size <= most_bytes then return entries, size, evicted end
  while entries > 0 and (entries > low or size > low_bytes) do
    local member = redis.call('ZRANGE', used, 0, 0)[1]
    redis.call('UNLINK', prefix .. member)
    forget(member)
    evicted = evicted + 1
    entries, size = held()
  end
  return entries, size, evicted
end
"""

_PUT = """
local prefix, member, now = ARGV[1], ARGV[2], ARGV[3]
local ends_at, size, left, entry = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local worth, record, tenant = ARGV[12], ARGV[13], ARGV[14]
redis.call('SET', prefix .. member, entry, 'PX', left)
local known = redis.call('HGET', learnt, member)
forget(member)
redis.call('ZADD', used, worth, member)
redis.call('ZADD', ends, ends_at, member)
if record ~= '' and known then size = size + #known end
redis.call('HSET', sizes, member, size)
redis.call('INCRBY', bytes, size)
if record ~= '' then
  redis.call('SET', KEYS[10], tenant)
  redis.call('HSET', records, member, record)
  if known then redis.call('HSET', learnt, member, known) end
  changed(member)
end
drop_expired(now)
return {trim(prefix, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))}
"""

# What was learnt is put where the rest of it finds it, as if it had been there before.
_CONFIRM = (
    """
local there = redis.call('GET', ARGV[1] .. ARGV[2])
if there and there ~= ARGV[15] then return {} end
redis.call('HDEL', learnt, ARGV[2])
if ARGV[16] ~= '' then redis.call('HSET', learnt, ARGV[2], ARGV[16]) end
"""
    + _PUT
)

_DELETE = """
if ARGV[3] and redis.call('GET', ARGV[1] .. ARGV[2]) ~= ARGV[3] then
  local entries, size = held()
  return {entries, size, 0}
end
redis.call('UNLINK', ARGV[1] .. ARGV[2])
forget(ARGV[2])
local entries, size = held()
return {entries, size, 0}
"""

_TRIM = """
drop_expired(ARGV[3])
return {trim(ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))}
"""


_TEACH = """
local member, before, after = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HEXISTS', records, member) == 0 then return 0 end
if (redis.call('HGET', learnt, member) or '') ~= before then return 0 end
redis.call('HSET', learnt, member, after)
redis.call('HINCRBY', sizes, member, #after - #before)
redis.call('INCRBY', bytes, #after - #before)
changed(member)
return 1
"""

_RAISE = """
if (redis.call('GET', KEYS[9]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[9], ARGV[2])
changed('')
return 1
"""

_CLEAR = """
if redis.call('EXISTS', records) == 1 then changed('*') end
redis.call('UNLINK', used, ends, sizes, bytes, records, learnt)
return 0
"""


class Script:
    """A script and the digest that Redis knows it by."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str, common: str = _COMMON) -> None:
        """`common` goes before the source: what all scripts share that change a tenant's index."""
        self.source = common.replace("KEPT_CHANGES", str(KEPT_CHANGES)) + source
        # Redis's name for it (EVALSHA); no secret hangs on it.
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()


# Arguments begin alike: the prefix of the entries' names, a member, now, the most entries and bytes that the
# tenant may hold, and how many of both are left once it has held more. All answer entries, bytes, evicted.
PUT = Script(_PUT)
"""Keep an entry; also the end of its time, its size, milliseconds left, itself, the moment that eviction goes
by, its record (empty: none) and the tenant's name."""
CONFIRM = Script(_CONFIRM)
"""The same if there is nothing but what was seen; also the bytes of that, and what was learnt. If there is
something else it answers nothing."""
DELETE = Script(_DELETE)
"""Forget an entry; only prefix and member, and perhaps the bytes that it must still have."""
TRIM = Script(_TRIM)
"""Forget what is past its time, and then what is too much."""
TEACH = Script(_TEACH)
"""Replace what was learnt about a record: member, what it is, what it shall be. Answers 1 if it was so."""
RAISE = Script(_RAISE)
"""Replace the epochs: what they are now, what they shall be. Answers 1 if they were so."""
CLEAR = Script(_CLEAR)
"""Forget what is kept about a tenant's entries; nothing of the entries themselves."""
