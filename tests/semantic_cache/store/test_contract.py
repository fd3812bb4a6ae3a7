"""What every store does. Each test runs against SQLite and against a real Redis server."""

from __future__ import annotations

import asyncio

from semantic_cache.store.base import Budget, Store, StoreEvent, StoreStats
from tests.semantic_cache.store.conftest import OpenStore
from tests.semantic_cache.support.samples import Clock, entry, key


async def test_returns_what_was_put(store: Store, clock: Clock) -> None:
    kept = entry(clock(), answer='{"x":"é\\u0000"}'.encode(), tags=("a", "b"), trace_id="t", epoch=3)
    assert await store.put(key("a"), kept)
    assert await store.get(key("a")) == kept


async def test_misses_what_was_never_put(store: Store) -> None:
    assert await store.get(key("a")) is None


async def test_a_later_put_replaces_an_earlier_one(store: Store, clock: Clock) -> None:
    await store.put(key("a"), entry(clock(), answer=b'{"first":1}'))
    await store.put(key("a"), entry(clock(), answer=b'{"second":1}'))
    found = await store.get(key("a"))
    assert found is not None and found.answer == b'{"second":1}'
    assert (await store.stats()).entries == 1


async def test_tenants_never_see_each_other(store: Store, clock: Clock) -> None:
    await store.put(key("a", "acme"), entry(clock()))
    assert await store.get(key("a", "other")) is None


async def test_delete_forgets_one_entry(store: Store, clock: Clock) -> None:
    await store.put(key("a"), entry(clock()))
    await store.put(key("b"), entry(clock()))
    await store.delete(key("a"))
    await store.delete(key("never there"))
    assert await store.get(key("a")) is None
    assert await store.get(key("b")) is not None
    assert (await store.stats()).entries == 1


async def test_clear_forgets_one_tenant(store: Store, clock: Clock) -> None:
    for name in ("a", "b"):
        await store.put(key(name, "acme"), entry(clock()))
        await store.put(key(name, "other"), entry(clock()))
    assert await store.clear("acme") == 2
    assert await store.get(key("a", "acme")) is None
    assert await store.get(key("a", "other")) is not None
    assert (await store.stats()).entries == 2


async def test_clear_forgets_all(store: Store, clock: Clock) -> None:
    for tenant in ("acme", "other", "weird {tenant}*\u00e9"):
        await store.put(key("a", tenant), entry(clock()))
    assert await store.clear() == 3
    assert await store.stats() == StoreStats(0, 0)
    assert await store.clear() == 0


async def test_clear_of_an_unknown_tenant_forgets_nothing(store: Store, clock: Clock) -> None:
    await store.put(key("a"), entry(clock()))
    assert await store.clear("nobody") == 0
    assert await store.get(key("a")) is not None


async def test_counts_what_it_holds(store: Store, clock: Clock) -> None:
    assert await store.stats() == StoreStats(0, 0)
    await store.put(key("a"), entry(clock(), answer=b"x" * 1000))
    one = await store.stats()
    assert one.entries == 1 and one.bytes > 1000
    await store.put(key("b"), entry(clock(), answer=b"x" * 1000))
    assert await store.stats() == StoreStats(2, 2 * one.bytes)


async def test_keeps_an_entry_past_its_expiry_until_it_is_too_stale(store: Store, clock: Clock) -> None:
    await store.put(key("a"), entry(clock(), ttl=60, stale=30))
    clock.now += 89
    found = await store.get(key("a"))
    assert found is not None and not found.fresh(clock())
    clock.now += 1
    assert await store.get(key("a")) is None
    assert (await store.stats()).entries == 0


async def test_does_not_keep_what_is_past_its_time_already(store: Store, clock: Clock) -> None:
    assert not await store.put(key("a"), entry(clock() - 100, ttl=60))
    assert (await store.stats()).entries == 0


async def test_does_not_keep_what_is_larger_than_a_tenth_of_the_budget(
    open_one: OpenStore, clock: Clock
) -> None:
    store = open_one(Budget(entries=10, bytes=100_000))
    assert not await store.put(key("large"), entry(clock(), answer=b"x" * 10_001))
    assert await store.put(key("small"), entry(clock(), answer=b"x" * 5_000))


async def test_holds_no_more_entries_than_the_budget(
    open_one: OpenStore, clock: Clock, events: dict[StoreEvent, int]
) -> None:
    store = open_one(Budget(entries=20))
    for number in range(50):
        clock.now += 1
        assert await store.put(key(str(number)), entry(clock()))
        assert (await store.stats()).entries <= 20
    assert await store.get(key("49")) is not None
    assert await store.get(key("0")) is None
    assert events[StoreEvent.EVICTED] == 50 - (await store.stats()).entries


async def test_holds_no_more_bytes_than_the_budget(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(bytes=100_000))
    for number in range(40):
        await store.put(key(str(number)), entry(clock(), answer=b"x" * 8_000))
        assert (await store.stats()).bytes <= 100_000
    assert await store.get(key("39")) is not None
    assert (await store.stats()).entries >= 8


async def test_the_budget_counts_all_tenants_together(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(entries=20))
    for number in range(60):
        await store.put(key(str(number), f"tenant {number % 5}"), entry(clock()))
        assert (await store.stats()).entries <= 20


async def test_what_was_used_lately_is_evicted_last(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(entries=10))
    for number in range(10):
        clock.now += 1
        await store.put(key(str(number)), entry(clock()))
    clock.now += 1
    assert await store.get(key("0")) is not None
    # Uses are noted in batches, and at the latest when the store is closed.
    await store.close()
    store = open_one(Budget(entries=10))
    clock.now += 1
    await store.put(key("new"), entry(clock()))
    assert await store.get(key("0")) is not None
    assert await store.get(key("1")) is None


async def test_another_process_sees_what_this_one_does(open_one: OpenStore, clock: Clock) -> None:
    one, other = open_one(), open_one()
    await one.put(key("a"), entry(clock()))
    assert await other.get(key("a")) is not None
    await other.delete(key("a"))
    assert await one.get(key("a")) is None


async def test_many_callers_at_once(open_one: OpenStore, clock: Clock) -> None:
    stores = [open_one(), open_one()]

    async def use(number: int) -> None:
        store = stores[number % 2]
        mine = entry(clock(), answer=b'{"n":%d}' % number)
        await store.put(key(str(number)), mine)
        assert await stores[(number + 1) % 2].get(key(str(number))) == mine
        if number % 3 == 0:
            await store.delete(key(str(number)))

    await asyncio.gather(*(use(number) for number in range(200)))
    assert (await stores[0].stats()).entries == 200 - 67


async def test_puts_at_once_stay_within_the_budget(open_one: OpenStore, clock: Clock) -> None:
    stores = [open_one(Budget(entries=30)) for _ in range(2)]
    await asyncio.gather(
        *(stores[n % 2].put(key(str(n), f"tenant {n % 3}"), entry(clock())) for n in range(150))
    )
    held = await stores[0].stats()
    assert 0 < held.entries <= 30


async def test_a_caller_that_leaves_does_no_harm(store: Store, clock: Clock) -> None:
    await store.put(key("a"), entry(clock()))
    for _ in range(20):
        calls = [
            asyncio.ensure_future(store.get(key("a"))),
            asyncio.ensure_future(store.put(key("b"), entry(clock()))),
        ]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert await store.get(key("a")) == entry(clock())


async def test_close_can_be_called_twice(store: Store, clock: Clock) -> None:
    await store.put(key("a"), entry(clock()))
    await store.close()
    await store.close()
