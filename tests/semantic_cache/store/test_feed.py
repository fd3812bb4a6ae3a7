"""What a follower of a store hears. Each test runs against SQLite and against a real Redis server."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from semantic_cache.epochs import Epochs
from semantic_cache.errors import StoreUnavailable
from semantic_cache.record import Learnt, Record, Stored, encode
from semantic_cache.scope import ExactKey
from semantic_cache.store import feed as feeds
from semantic_cache.store.base import Budget, Store
from semantic_cache.store.feed import Feed
from semantic_cache.store.open import open_store
from semantic_cache.store.redis_scripts import key_of, tag_of
from tests.semantic_cache.store.conftest import OpenStore
from tests.semantic_cache.support.samples import Clock, entry, key

PATIENT_S = 20.0


class Mirror:
    """What a follower knows after all it has heard."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.held: dict[ExactKey, Stored] = {}
        self.epochs: dict[str, Epochs] = {}
        self.begun = 0

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENT_S):
            while not what():
                await self.step()

    async def step(self) -> bool:
        batch = await self.feed.next()
        if batch.anew:
            self.begun += 1
            self.held.clear()
            self.epochs.clear()
        self.epochs.update(batch.epochs)
        for stored in batch.stored:
            self.held[stored.key] = stored
        for gone in batch.gone:
            self.held.pop(gone, None)
        return batch.caught_up

    async def catch_up(self) -> None:
        async with asyncio.timeout(PATIENT_S):
            while not await self.step():
                pass


@pytest.fixture
async def mirror(store: Store) -> AsyncIterator[Mirror]:
    mirror = Mirror(store.feed())
    await mirror.catch_up()
    yield mirror
    await mirror.feed.close()


def record(text: str, tenant: str = "acme", **more: Any) -> Record:
    return Record(scope=b"s" * 32, text=text, model="large", stale_until=time.time() + 600, **more)


async def put(store: Store, clock: Clock, text: str, tenant: str = "acme", **more: Any) -> ExactKey:
    where = key(text, tenant)
    assert await store.put(where, entry(clock(), tenant=tenant), record(text, **more))
    return where


async def test_hears_of_what_was_there_and_of_what_comes(
    store: Store, open_one: OpenStore, clock: Clock, mirror: Mirror
) -> None:
    first = await put(store, clock, "one", tags=("t",), vector=b"\0\x3c", embedder="e")
    await put(open_one(), clock, "two", "other")
    await mirror.until(lambda: len(mirror.held) == 2)
    assert mirror.held[first].record.text == "one" and mirror.held[first].record.tags == ("t",)
    assert mirror.held[first].learnt == Learnt()
    late = Mirror(store.feed())
    await late.catch_up()
    assert late.held == mirror.held
    await late.feed.close()


async def test_an_entry_without_a_record_is_none_of_its_business(
    store: Store, clock: Clock, mirror: Mirror
) -> None:
    await store.put(key("plain"), entry(clock()))
    await put(store, clock, "one")
    await mirror.until(lambda: len(mirror.held) == 1)
    # Its record goes with the answer that it belonged to.
    await store.put(key("one"), entry(clock()))
    await mirror.until(lambda: not mirror.held)


async def test_hears_of_deletion_replacement_and_clearing(store: Store, clock: Clock, mirror: Mirror) -> None:
    keys = [await put(store, clock, f"q{n}", f"tenant {n % 2}") for n in range(6)]
    await mirror.until(lambda: len(mirror.held) == 6)
    await store.delete(keys[0])
    await mirror.until(lambda: keys[0] not in mirror.held)
    assert await store.put(keys[1], entry(clock()), record("another text"))
    await mirror.until(lambda: mirror.held[keys[1]].record.text == "another text")
    await store.clear("tenant 1")
    await mirror.until(lambda: len(mirror.held) == 2)
    await store.clear()
    await mirror.until(lambda: not mirror.held)


async def test_hears_of_eviction(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(entries=10))
    mirror = Mirror(store.feed())
    await mirror.catch_up()
    for number in range(30):
        clock.now += 1
        await put(store, clock, f"q{number}")
    left = {kept.key async for kept in store.scan()}
    assert 0 < len(left) <= 10
    await mirror.until(lambda: set(mirror.held) == left)
    await mirror.feed.close()


async def test_what_was_learnt_is_replaced_only_by_who_knew_it(
    store: Store, open_one: OpenStore, clock: Clock, mirror: Mirror
) -> None:
    where = await put(store, clock, "one")
    one, two = encode(Learnt(b"1")), encode(Learnt(b"2"))
    assert await store.teach(where, b"", one)
    assert not await open_one().teach(where, b"", two)
    assert await open_one().teach(where, one, two)
    await mirror.until(lambda: where in mirror.held and mirror.held[where].learnt == Learnt(b"2"))
    # A fresh answer to the same question does not undo it.
    await put(store, clock, "one")
    assert not await store.teach(where, b"", one)
    late = Mirror(store.feed())
    await late.catch_up()
    assert late.held[where].learnt == Learnt(b"2")
    await late.feed.close()
    await store.delete(where)
    assert not await store.teach(where, two, one)
    assert not await store.teach(key("never there"), b"", one)


async def test_a_purge_is_heard_of_and_means_what_was_there(
    store: Store, open_one: OpenStore, clock: Clock, mirror: Mirror
) -> None:
    old = await put(store, clock, "old")
    other = await put(store, clock, "other", "globex")
    await mirror.until(lambda: len(mirror.held) == 2)
    await open_one().purge("acme", lambda epochs: epochs.purged())
    assert await store.get(old) is None and await store.get(other) is not None
    await mirror.until(lambda: mirror.epochs.get("acme") == Epochs(1, 1))
    assert (await store.epochs("acme")).now == 1
    spare = key("spare")
    await store.put(spare, entry(clock(), epoch=1, tenant="acme"))
    new = key("new")
    await store.put(new, entry(clock(), epoch=1, tags=("t",)), record("new", epoch=1))
    assert await store.get(new) is not None
    await store.purge(None, lambda epochs: epochs.purged(tag="t"))
    assert await store.get(new) is None and await store.get(other) is not None
    assert {kept.key async for kept in store.scan()} == {other, spare}
    late = Mirror(store.feed())
    await late.catch_up()
    assert late.epochs["acme"].now == 2
    await late.feed.close()


async def test_a_follower_too_far_behind_begins_anew(
    store: Store, store_url: str, clock: Clock, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semantic_cache.store.sqlite_jobs.KEPT_CHANGES", 5)
    await put(store, clock, "first")
    await mirror.until(lambda: len(mirror.held) == 1)
    assert mirror.begun == 1
    for number in range(40):
        await put(store, clock, f"q{number}")
    await store.delete(key("first"))
    if store_url.startswith("redis"):
        # The server keeps its streams longer than a test lasts.
        with redis.Redis.from_url(store_url) as client:
            for stream in client.keys("*:changes"):
                client.xtrim(stream, maxlen=5, approximate=False)
    await mirror.until(lambda: len(mirror.held) == 40)
    assert mirror.begun == 2


def hide(store_url: str, part: str, *, back: bool = False) -> None:
    """Put something that cannot be read in the place of a part of the store, or take it away again."""
    if not store_url.startswith("redis"):
        names = (f"{part}_hidden", part) if back else (part, f"{part}_hidden")
        with contextlib.closing(sqlite3.connect(store_url.removeprefix("sqlite://"))) as connection:
            connection.execute(f"ALTER TABLE {names[0]} RENAME TO {names[1]}")
        return
    name = key_of(tag_of("acme"), "records" if part == "semantic" else part)
    with redis.Redis.from_url(store_url) as client:
        if back:
            client.rename(f"{name}:hidden", name)
        else:
            client.rename(name, f"{name}:hidden")
            # Of a kind that neither command reads.
            client.lpush(name, "x")


@pytest.mark.parametrize("part", ["semantic", "epochs"])
async def test_a_beginning_that_fails_half_way_is_made_again(
    store: Store, store_url: str, clock: Clock, part: str
) -> None:
    where = await put(store, clock, "one", epoch=1)
    await store.purge("acme", Epochs.purged)
    hide(store_url, part)
    late = Mirror(store.feed())
    with pytest.raises(StoreUnavailable):
        await late.step()
    hide(store_url, part, back=True)
    await catch_up_in_spite_of_failures(late)
    assert late.begun == 1 and where in late.held and late.epochs["acme"] == Epochs(1, 1)
    await late.feed.close()


async def test_changes_that_could_not_be_read_are_read_later(
    store: Store, store_url: str, clock: Clock, mirror: Mirror
) -> None:
    await put(store, clock, "one")
    await mirror.until(lambda: len(mirror.held) == 1)
    await store.purge("acme", Epochs.purged)
    hide(store_url, "epochs")
    with pytest.raises(StoreUnavailable):
        await mirror.until(lambda: "acme" in mirror.epochs and mirror.epochs["acme"].now == 1)
    hide(store_url, "epochs", back=True)
    await catch_up_in_spite_of_failures(mirror)
    assert mirror.epochs["acme"] == Epochs(1, 1)


async def test_a_tenant_met_while_its_records_cannot_be_read_is_read_later(
    redis_url: str, clock: Clock
) -> None:
    store = open_store(redis_url, clock=clock)
    mirror = Mirror(store.feed())
    await mirror.catch_up()
    await put(store, clock, "one")
    hide(redis_url, "semantic")
    with pytest.raises(StoreUnavailable):
        await mirror.until(lambda: False)
    hide(redis_url, "semantic", back=True)
    await catch_up_in_spite_of_failures(mirror)
    assert key("one") in mirror.held
    await mirror.feed.close()
    await store.close()


async def catch_up_in_spite_of_failures(mirror: Mirror) -> None:
    async with asyncio.timeout(PATIENT_S):
        while True:
            try:
                return await mirror.catch_up()
            except StoreUnavailable:
                await asyncio.sleep(0.01)


async def test_epochs_that_cannot_be_read_cost_nobody_the_records(
    store: Store, store_url: str, clock: Clock
) -> None:
    await put(store, clock, "one")
    await store.purge("acme", Epochs.purged)
    if store_url.startswith("redis"):
        with redis.Redis.from_url(store_url) as client:
            client.set(key_of(tag_of("acme"), "epochs"), b"\xc1")
    else:
        with contextlib.closing(sqlite3.connect(store_url.removeprefix("sqlite://"))) as connection:
            connection.execute("UPDATE epochs SET epochs = x'c1'")
            connection.commit()
    late = Mirror(store.feed())
    await late.catch_up()
    assert late.epochs == {"acme": Epochs()}
    await late.feed.close()


async def test_many_records_come_in_batches(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite_feed", "redis_feed"):
        monkeypatch.setattr(f"semantic_cache.store.{module}.BATCH", 7)
    assert feeds.BATCH > 7
    await asyncio.gather(*(put(store, clock, f"q{number}", f"t{number % 3}") for number in range(50)))
    mirror = Mirror(store.feed())
    await mirror.catch_up()
    assert len(mirror.held) == 50
    await asyncio.gather(*(put(store, clock, f"r{number}", f"t{number % 3}") for number in range(50)))
    await mirror.until(lambda: len(mirror.held) == 100)
    await mirror.feed.close()


async def test_scan_yields_all_that_may_be_served_with_what_stands_beside_it(
    store: Store, clock: Clock
) -> None:
    with_record = await put(store, clock, "one")
    plain = key("plain", "globex")
    await store.put(plain, entry(clock(), tenant="globex"))
    await store.put(key("old"), entry(clock(), ttl=5))
    clock.now += 10
    found = {kept.key: kept async for kept in store.scan()}
    assert set(found) == {with_record, plain}
    assert found[with_record].stored is not None and found[plain].stored is None
    assert [kept.key async for kept in store.scan("globex")] == [plain]
    assert (await store.stats()).records == 1


async def test_dear_answers_stay_longer_than_cheap_ones(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(entries=10))
    await store.put(key("dear"), entry(clock(), cost_usd=0.05))
    for number in range(30):
        clock.now += 1
        await store.put(key(str(number)), entry(clock()))
    assert await store.get(key("dear")) is not None
    # Not for ever: an hour for each doubling.
    clock.now += 0
    for number in range(30):
        clock.now += 1800
        await store.put(key(f"later {number}"), entry(clock(), ttl=900_000))
    assert await store.get(key("dear")) is None
