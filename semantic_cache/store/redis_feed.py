"""Follows the records on a Redis server or cluster, tenant by tenant: each has a numbered stream of changes.

All numbers are looked at together; only streams with a new one are read. A number that is missing, or lower
than one that was there, means that the stream was trimmed or is another server's: everything begins anew.
Neither consumer groups nor blocking reads are needed, and no command that Redis 6.2 lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from semantic_cache.epochs import Epochs
from semantic_cache.record import Stored, decode_stored
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import ignore_event
from semantic_cache.store.feed import BATCH, POLL_S, Batch, epochs_of
from semantic_cache.store.redis_link import RedisLink
from semantic_cache.store.redis_scripts import CLEARED, EPOCHS, TENANTS, digest_of, key_of

TIMEOUT_S = 5.0
_NUMBERS = 500
"""Tenants asked about in one command."""


class RedisFeed:
    """One place in the changes of all tenants. Belongs to one event loop."""

    def __init__(self, url: str) -> None:
        # A connection of its own: what is read here at once would keep others waiting.
        self._link = RedisLink(url, ignore_event, TIMEOUT_S)
        self._places: dict[str, int] | None = None
        """The number of each tenant's last change that was told of; None before everything was."""
        self._names: dict[str, str] = {}
        self._unread: deque[tuple[str, list[bytes]]] = deque()
        """Records of tenants that were met for the first time."""
        self._hurried = asyncio.Event()

    async def next(self) -> Batch:
        while True:
            self._hurried.clear()
            batch = await self._look()
            if batch is not None:
                return batch
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._hurried.wait()

    def hurry(self) -> None:
        self._hurried.set()

    async def close(self) -> None:
        await self._link.close()

    async def _look(self) -> Batch | None:
        if self._places is None:
            return await self._begin()
        if self._unread:
            return await self._read_on()
        tags = [tag.decode() for tag in await self._link.read("HKEYS", TENANTS)]
        fresh = [tag for tag in tags if tag not in self._places]
        if fresh:
            return await self._meet(fresh, anew=False)
        numbers = await self._numbers(list(self._places))
        moved = [tag for tag, number in numbers.items() if number != self._places[tag]]
        if any(numbers[tag] < self._places[tag] for tag in moved):
            return await self._begin()
        return await self._read_changes(moved) if moved else None

    async def _begin(self) -> Batch:
        # Until all of it has been read there is no place: what fails half way begins again.
        self._places, self._names = None, {}
        self._unread.clear()
        tags = [tag.decode() for tag in await self._link.read("HKEYS", TENANTS)]
        return await self._meet(tags, anew=True)

    async def _meet(self, tags: list[str], *, anew: bool) -> Batch:
        """Note where the changes of these tenants stand, and have all their records read."""
        epochs: dict[str, Epochs] = {}
        unread: list[tuple[str, list[bytes]]] = []
        # The numbers before the records: what changes in between is told of twice.
        numbers = await self._numbers(tags)
        for tag in tags:
            if (tenant := await self._name(tag)) is None:
                continue
            epochs[tenant] = epochs_of(tenant, await self._link.read("GET", key_of(tag, "epochs")))
            members = await self._link.read("HKEYS", key_of(tag, "records"))
            unread += [(tag, members[start : start + BATCH]) for start in range(0, len(members), BATCH)]
        # Only now: what failed half way is begun again.
        self._places = {**(self._places or {}), **numbers}
        self._unread += unread
        return Batch(anew, epochs=epochs, caught_up=not self._unread)

    async def _read_on(self) -> Batch:
        tag, members = self._unread[0]
        stored, _ = await self._records(tag, members)
        self._unread.popleft()
        return Batch(stored=stored, caught_up=not self._unread)

    async def _read_changes(self, tags: list[str]) -> Batch:
        assert self._places is not None
        stored: list[Stored] = []
        gone: list[ExactKey] = []
        epochs: dict[str, Epochs] = {}
        places: dict[str, int] = {}
        for tag in tags:
            place = self._places[tag]
            changes = await self._link.read(
                "XRANGE", key_of(tag, "changes"), f"({place}-1", "+", "COUNT", BATCH
            )
            numbers = [int(bytes(change[0]).partition(b"-")[0]) for change in changes]
            members = list(dict.fromkeys(_member(change[1]) for change in changes))
            if not numbers or numbers[0] != place + 1 or CLEARED.encode() in members:
                return await self._begin()
            if EPOCHS.encode() in members:
                members.remove(EPOCHS.encode())
                if (tenant := await self._name(tag)) is not None:
                    kept = await self._link.read("GET", key_of(tag, "epochs"))
                    epochs[tenant] = epochs_of(tenant, kept)
            found, missing = await self._records(tag, members)
            stored += found
            gone += missing
            places[tag] = numbers[-1]
        current = await self._numbers(tags)
        # Only now: a call that failed half way is made again from the same places.
        self._places.update(places)
        return Batch(False, stored, gone, epochs, all(places[tag] >= current[tag] for tag in tags))

    async def _records(self, tag: str, members: list[bytes]) -> tuple[list[Stored], list[ExactKey]]:
        """Return these records as they are now, and the keys of those that are not there."""
        if not members or (tenant := await self._name(tag)) is None:
            return [], []
        records = await self._link.read("HMGET", key_of(tag, "records"), *members)
        learnt = await self._link.read("HMGET", key_of(tag, "learnt"), *members)
        stored, gone = [], []
        for member, record, known in zip(members, records, learnt, strict=True):
            key = ExactKey(tenant, digest_of(member))
            found = None if record is None else decode_stored(key, record, known)
            if found is None:
                gone.append(key)
            else:
                stored.append(found)
        return stored, gone

    async def _name(self, tag: str) -> str | None:
        """Return a tenant's name; None for one that has entries and never had a record."""
        if tag not in self._names:
            name = await self._link.read("GET", key_of(tag, "tenant"))
            if name is None:
                return None
            self._names[tag] = name.decode()
        return self._names[tag]

    async def _numbers(self, tags: list[str]) -> dict[str, int]:
        keys = [key_of(tag, "seq") for tag in tags]
        found: list[Any] = []
        if self._link.many_nodes:
            found = [await self._link.read("GET", key) for key in keys]
        else:
            for start in range(0, len(keys), _NUMBERS):
                found += await self._link.read("MGET", *keys[start : start + _NUMBERS])
        return {tag: int(number or 0) for tag, number in zip(tags, found, strict=True)}


def _member(fields: Any) -> bytes:
    # The cluster's client has made a dictionary of them.
    return bytes(next(iter(fields.values())) if isinstance(fields, dict) else fields[1])
