"""The shared store: Redis 6.2 or later, alone or as a cluster.

A read is one GET, and Redis drops entries at their time by itself. The budget is kept at every put within the
tenant, whose keys lie in one slot, and over all tenants by a look at their sums with every hundredth part of
the budget that a worker puts: so much each worker can be over it. Memory that others use is not in it: give
Redis a `maxmemory` with room to spare, and a policy that spares keys without a time to live (`volatile-*` or
`noeviction`), since the index has none.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from semantic_cache.entry import Entry, decode_entry, encode_entry
from semantic_cache.epochs import Epochs, decode_epochs, encode_epochs
from semantic_cache.errors import CorruptEntry, StoreUnavailable
from semantic_cache.record import NOTHING_LEARNT, Record, Stored, decode_stored, encode
from semantic_cache.scope import ExactKey
from semantic_cache.store.background import Background
from semantic_cache.store.base import (
    NOTHING,
    Budget,
    Found,
    Kept,
    OnEvent,
    StoreEvent,
    StoreStats,
    ignore_event,
)
from semantic_cache.store.fair_share import level
from semantic_cache.store.feed import Feed
from semantic_cache.store.redis_feed import RedisFeed
from semantic_cache.store.redis_flights import RedisFlights
from semantic_cache.store.redis_link import TIMEOUT_S, RedisLink
from semantic_cache.store.redis_scripts import (
    CLEAR,
    CONFIRM,
    DELETE,
    PUT,
    RAISE,
    TEACH,
    TENANTS,
    TRIM,
    Script,
    digest_of,
    entry_prefix,
    key_of,
    member_of,
    tag_of,
)
from semantic_cache.store.worth import credit_ms

# What an entry costs Redis besides its bytes: its key and time, two sorted sets, a hash field.
ENTRY_BYTES = 512
_LARGEST_SHARE = 10
# What may wait for a server that takes it more slowly than it comes.
_MAX_WAITING_BYTES = 32 * 1024 * 1024
_LOW_WATER = 0.95
_SCAN = 200
_TOUCHES = 256
_TOUCH_S = 5.0


class RedisStore:
    """Entries on a server. Belongs to one event loop."""

    waits = True

    def __init__(
        self,
        url: str,
        budget: Budget | None = None,
        *,
        on_event: OnEvent = ignore_event,
        clock: Callable[[], float] = time.time,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """The server is not asked before the first call. Raises BadStoreUrl."""
        self._url = url
        self._link = RedisLink(url, on_event, timeout_s)
        self._budget = budget or Budget()
        self._on_event = on_event
        self._clock = clock
        self._touched: dict[str, dict[str, float]] = {}
        self._touches = 0
        self._last_moment = 0.0
        self._touched_at = time.monotonic()
        self._waiting_bytes = 0
        self._puts_left = 0
        self._bytes_left = 0
        self._looking = self._look_again = False
        self._background = Background()

    async def get(self, key: ExactKey) -> Entry | None:
        found = await self._look(key)
        if found.dead:
            self._background.begin(self._delete(key, found.stored))
        return found.entry

    async def _look(self, key: ExactKey) -> Found:
        """Return what lies there, served or not."""
        tag, member = tag_of(key.tenant), member_of(key.digest)
        name, epochs = entry_prefix(tag) + member, key_of(tag, "epochs")
        stored, purged = await self._link.read("MGET", name, epochs)
        if stored is None:
            return NOTHING
        try:
            entry = decode_entry(stored, key.digest)
        except CorruptEntry:
            self._on_event(StoreEvent.CORRUPT, 1)
            return Found(stored, None, dead=True)
        now = self._clock()
        if now >= entry.stale_until:
            return Found(stored, None)
        if (
            purged is not None and decode_epochs(purged).dead(entry.epoch, entry.model, entry.tags)
        ) or await self._withdrawn(entry):
            return Found(stored, None, dead=True)
        self._touch(tag, member, now, credit_ms(entry, len(stored)))
        return Found(stored, entry)

    async def _withdrawn(self, entry: Entry) -> bool:
        """Return whether the entry was another one's and has been purged of him."""
        return bool(entry.contributor) and (await self.epochs(entry.contributor)).dead(
            entry.contributed, entry.model, entry.tags
        )

    async def put(self, key: ExactKey, entry: Entry, record: Record | None = None) -> bool:
        return await self._keep(PUT, key, entry, record)

    async def beside(self, key: ExactKey) -> Stored | None:
        tag, member = tag_of(key.tenant), member_of(key.digest)
        record = await self._link.read("HGET", key_of(tag, "records"), member)
        learnt = await self._link.read("HGET", key_of(tag, "learnt"), member)
        return None if record is None else decode_stored(key, record, learnt)

    async def confirm(self, key: ExactKey, entry: Entry, stored: Stored | None = None) -> bool:
        there = await self._look(key)
        if there.entry is not None and there.entry.fresh(self._clock()):
            return False
        record = None if stored is None else stored.record
        learnt = b"" if stored is None or stored.learnt == NOTHING_LEARNT else encode(stored.learnt)
        return await self._keep(CONFIRM, key, entry, record, there.stored, learnt)

    async def _keep(
        self, script: Script, key: ExactKey, entry: Entry, record: Record | None, *more: bytes
    ) -> bool:
        stored = encode_entry(entry, key.digest)
        kept = b"" if record is None else encode(record)
        now = self._clock()
        left_ms = _milliseconds(entry.stale_until - now)
        if left_ms <= 0 or len(stored) + len(kept) > self._budget.bytes // _LARGEST_SHARE:
            return False
        tag, size = tag_of(key.tenant), len(stored) + len(kept) + ENTRY_BYTES
        if self._waiting_bytes + size > _MAX_WAITING_BYTES:
            raise StoreUnavailable("The cache's store has too much left to write.")
        moment = self._moment(now)
        self._waiting_bytes += size
        try:
            held = await self._link.run(
                script,
                tag,
                entry_prefix(tag),
                member_of(key.digest),
                moment,
                *_limits(self._budget.entries, self._budget.bytes),
                _milliseconds(entry.stale_until),
                size,
                left_ms,
                stored,
                moment + credit_ms(entry, len(stored)),
                kept,
                key.tenant,
                *more,
            )
        finally:
            self._waiting_bytes -= size
        if not held:
            return False
        await self._note(tag, held)
        await self._look_at_times(size)
        return True

    async def epochs(self, tenant: str) -> Epochs:
        return decode_epochs(await self._link.read("GET", key_of(tag_of(tenant), "epochs")))

    async def purge(self, tenant: str | None, raised: Callable[[Epochs], Epochs]) -> None:
        for tag in [tag_of(tenant)] if tenant is not None else list(await self._tenants()):
            done = 0
            while not done:
                known = await self._link.read("GET", key_of(tag, "epochs"))
                following = encode_epochs(raised(decode_epochs(known)))
                done = await self._link.run(RAISE, tag, known or b"", following)

    async def teach(self, key: ExactKey, before: bytes, after: bytes) -> bool:
        tag = tag_of(key.tenant)
        return bool(await self._link.run(TEACH, tag, member_of(key.digest), before, after))

    def feed(self) -> Feed:
        return RedisFeed(self._url)

    def flights(self) -> RedisFlights:
        return RedisFlights(self._url, self._link)

    async def scan(self, tenant: str | None = None) -> AsyncIterator[Kept]:
        givers: dict[str, Epochs] = {}
        for tag in [tag_of(tenant)] if tenant is not None else list(await self._tenants()):
            epochs = decode_epochs(await self._link.read("GET", key_of(tag, "epochs")))
            members = await self._link.read("ZRANGE", key_of(tag, "until"), 0, -1)
            for start in range(0, len(members), _SCAN):
                page = members[start : start + _SCAN]
                names = [entry_prefix(tag).encode() + member for member in page]
                entries = await self._link.read("MGET", *names)
                records = await self._link.read("HMGET", key_of(tag, "records"), *page)
                learnt = await self._link.read("HMGET", key_of(tag, "learnt"), *page)
                now = self._clock()
                for member, stored, record, known in zip(page, entries, records, learnt, strict=True):
                    if stored is None:
                        continue
                    digest = digest_of(member)
                    with contextlib.suppress(CorruptEntry):
                        entry = decode_entry(stored, digest)
                        owner = tenant or entry.tenant
                        dead = epochs.dead(entry.epoch, entry.model, entry.tags)
                        if (giver := entry.contributor) and giver not in givers:
                            givers[giver] = await self.epochs(giver)
                        if giver:
                            dead |= givers[giver].dead(entry.contributed, entry.model, entry.tags)
                        # Without its tenant's name nobody could ask for it by its key.
                        if not owner or dead or now >= entry.stale_until:
                            continue
                        key = ExactKey(owner, digest)
                        yield Kept(key, entry, None if record is None else decode_stored(key, record, known))

    async def delete(self, key: ExactKey) -> None:
        await self._delete(key)

    async def _delete(self, key: ExactKey, *seen: bytes) -> None:
        """Forget the entry, but not another one that has been put since the dead one was seen."""
        tag = tag_of(key.tenant)
        held = await self._link.run(DELETE, tag, entry_prefix(tag), member_of(key.digest), *seen)
        await self._note(tag, held)

    async def clear(self, tenant: str | None = None) -> int:
        tags = [tag_of(tenant)] if tenant is not None else list(await self._tenants())
        for tag in tags:
            # All at once, so that what is put meanwhile finds a whole index or none.
            await self._link.run(CLEAR, tag)
            await self._link.write("HDEL", TENANTS, tag)
        # By the names, not by the index: an entry that the index lost must go as well.
        count = 0
        async for name in self._link.names(entry_prefix(tags[0] if tenant is not None else "*") + "*"):
            count += await self._link.write("UNLINK", name)
        return count

    async def stats(self) -> StoreStats:
        limits = _limits(self._budget.entries, self._budget.bytes)
        held = [await self._trim(tag, limits) for tag in await self._tenants()]
        records = [await self._link.read("HLEN", key_of(tag, "records")) for tag in await self._tenants()]
        return StoreStats(sum(entries for entries, _ in held), sum(size for _, size in held), sum(records))

    async def close(self) -> None:
        if self._touched:
            self._background.begin(self._flush_touches())
        await self._background.finish()
        await self._link.close()

    async def _look_at_times(self, size: int) -> None:
        """Every now and then see whether all tenants together hold too much, and trim the largest."""
        self._puts_left -= 1
        self._bytes_left -= size
        if self._puts_left > 0 and self._bytes_left > 0:
            return
        self._puts_left, self._bytes_left = self._budget.entries // 100, self._budget.bytes // 100
        # One look at a time; what is put meanwhile is seen by another one.
        self._look_again = True
        if self._looking:
            return
        self._looking = True
        try:
            while self._look_again:
                self._look_again = False
                await self._level()
        finally:
            self._looking = False

    async def _level(self) -> None:
        entries, size = self._budget.entries, self._budget.bytes
        held = await self._tenants()
        if _within(held, entries, size):
            return
        # What was noted last may have expired since.
        held = {tag: await self._trim(tag, _limits(entries, size)) for tag in held}
        if _within(held, entries, size):
            return
        # With more tenants than places each keeps its newest.
        most = max(1, level([of for of, _ in held.values()], int(entries * _LOW_WATER)))
        most_bytes = level([of for _, of in held.values()], int(size * _LOW_WATER))
        for tag, (its_entries, its_bytes) in held.items():
            if its_entries > most or its_bytes > most_bytes:
                await self._trim(tag, (most, most_bytes, most, most_bytes))

    async def _tenants(self) -> dict[str, tuple[int, int]]:
        """Return entries and bytes by tag, as of each tenant's last change."""
        tags: list[bytes] = await self._link.read("HKEYS", TENANTS)
        if not tags:
            return {}
        noted: list[bytes | None] = await self._link.read("HMGET", TENANTS, *tags)
        # One that is gone between the two holds nothing.
        return {
            tag.decode(): _pair(held.split())
            for tag, held in zip(tags, noted, strict=True)
            if held is not None
        }

    async def _trim(self, tag: str, limits: tuple[int, int, int, int]) -> tuple[int, int]:
        now = _milliseconds(self._clock())
        held = await self._link.run(TRIM, tag, entry_prefix(tag), "", now, *limits)
        await self._note(tag, held)
        return _pair(held)

    async def _note(self, tag: str, held: list[Any]) -> None:
        """Note what a script says the tenant holds now: entries, bytes, and how many it evicted."""
        entries, size, evicted = held
        if evicted:
            self._on_event(StoreEvent.EVICTED, evicted)
        if entries:
            await self._link.write("HSET", TENANTS, tag, f"{entries} {size}")
        else:
            await self._link.write("HDEL", TENANTS, tag)

    def _moment(self, now: float) -> float:
        """Return milliseconds that are never the same twice, so that the order of use has no ties."""
        self._last_moment = max(self._last_moment + 0.001, now * 1000)
        return self._last_moment

    def _touch(self, tag: str, member: str, now: float, credit: int) -> None:
        self._touched.setdefault(tag, {})[member] = self._moment(now) + credit
        self._touches += 1
        at = time.monotonic()
        if self._touches >= _TOUCHES or at - self._touched_at > _TOUCH_S:
            self._touched_at = at
            self._background.begin(self._flush_touches())

    async def _flush_touches(self) -> None:
        touched, self._touched, self._touches = self._touched, {}, 0
        for tag, members in touched.items():
            scores = [part for member, at in members.items() for part in (at, member)]
            # XX: what has left the index meanwhile stays out of it.
            await self._link.write("ZADD", key_of(tag, "used"), "XX", *scores)


def _within(held: dict[str, tuple[int, int]], entries: int, size: int) -> bool:
    return sum(of for of, _ in held.values()) <= entries and sum(of for _, of in held.values()) <= size


def _limits(most: int, most_bytes: int) -> tuple[int, int, int, int]:
    """Return what a tenant may hold, and how far eviction goes once it holds more."""
    return most, most_bytes, max(1, int(most * _LOW_WATER)), int(most_bytes * _LOW_WATER)


def _pair(held: list[Any]) -> tuple[int, int]:
    return int(held[0]), int(held[1])


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
