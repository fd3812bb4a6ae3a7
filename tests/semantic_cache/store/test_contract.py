"""What every store does. Each test runs against SQLite and against a real Redis server."""

from __future__ import annotations

import asyncio
from typing import Any

from semantic_cache.entry import Entry
from semantic_cache.epochs import Epochs
from semantic_cache.record import Learnt, Record, Stored
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


def taken_over(now: float, **fields: Any) -> Entry:
    """What a group has of the tenant `acme`."""
    return entry(now, tenant="@team", contributor="acme", **fields)


def beside(name: str, owner: str = "@team") -> Stored:
    record = Record(scope=b"s" * 32, text=name, model="large", stale_until=2e9, contributor="acme")
    return Stored(key(name, owner), record, Learnt(b"1", (b"q" * 32,), (1.0,)))


async def test_what_is_confirmed_is_kept_with_all_that_was_learnt(store: Store, clock: Clock) -> None:
    where, kept = key("a", "@team"), taken_over(clock())
    assert await store.confirm(where, kept, beside("a"))
    assert await store.get(where) == kept
    assert await store.beside(where) == beside("a")
    assert (await store.stats()).entries == 1
    assert [found.stored async for found in store.scan("@team")] == [beside("a")]


async def test_what_lies_beside_an_entry_can_be_read(store: Store, clock: Clock) -> None:
    record = beside("a", "acme").record
    assert await store.beside(key("a")) is None
    await store.put(key("a"), entry(clock()), record)
    assert await store.beside(key("a")) == Stored(key("a"), record, Learnt())
    await store.put(key("b"), entry(clock()))
    assert await store.beside(key("b")) is None


async def test_nothing_takes_the_place_of_a_confirmed_answer_while_it_is_fresh(
    store: Store, open_one: OpenStore, clock: Clock
) -> None:
    where, first = key("a", "@team"), taken_over(clock(), ttl=60, stale=60, answer=b'{"first":1}')
    assert await store.confirm(where, first)
    other = taken_over(clock(), answer=b'{"second":1}')
    assert not await open_one().confirm(where, other, beside("a"))
    assert await store.get(where) == first and await store.beside(where) is None
    clock.now += 61
    later = taken_over(clock(), answer=b'{"third":1}')
    assert await open_one().confirm(where, later, beside("a"))
    assert await store.get(where) == later
    await store.delete(where)
    assert await store.confirm(where, other)


async def test_of_many_who_confirm_at_once_one_does(store: Store, open_one: OpenStore, clock: Clock) -> None:
    stores, where = [store, open_one(), open_one()], key("a", "@team")
    entries = [taken_over(clock(), answer=b'{"n":%d}' % number) for number in range(12)]
    done = await asyncio.gather(
        *(stores[number % 3].confirm(where, mine, beside("a")) for number, mine in enumerate(entries))
    )
    assert done.count(True) == 1
    assert await store.get(where) == entries[done.index(True)]
    assert (await store.stats()).entries == 1


async def test_what_is_too_large_or_too_old_is_not_confirmed(open_one: OpenStore, clock: Clock) -> None:
    store, where = open_one(Budget(entries=10, bytes=100_000)), key("a", "@team")
    assert not await store.confirm(where, taken_over(clock(), answer=b"x" * 10_001))
    assert not await store.confirm(where, taken_over(clock() - 100, ttl=60))
    assert await store.get(where) is None


async def test_a_purge_of_the_contributor_means_what_a_group_has_of_it(store: Store, clock: Clock) -> None:
    tagged, plain = key("tagged", "@team"), key("plain", "@team")
    await store.confirm(tagged, taken_over(clock(), tags=("t",), contributed=0))
    await store.confirm(plain, taken_over(clock(), contributed=0))
    await store.purge("globex", Epochs.purged)
    assert await store.get(tagged) is not None
    await store.purge("acme", lambda epochs: epochs.purged(tag="t"))
    assert [found.key async for found in store.scan()] == [plain]
    assert await store.get(tagged) is None and await store.get(plain) is not None
    # Dead is as good as gone: there may be another one now.
    assert await store.confirm(tagged, taken_over(clock(), tags=("t",), contributed=1))
    assert await store.get(tagged) is not None
    await store.purge("@team", Epochs.purged)
    assert await store.get(plain) is None
    assert await store.confirm(plain, taken_over(clock(), contributed=1, epoch=1))


async def test_forgetting_what_is_dead_spares_what_is_put_meanwhile(
    open_one: OpenStore, clock: Clock
) -> None:
    store = open_one()
    for epoch in range(10):
        await store.put(key("a"), entry(clock(), epoch=epoch))
        await store.purge("acme", Epochs.purged)
        # Whoever comes upon the dead one has it deleted, and does not wait for that.
        assert await store.get(key("a")) is None
        await store.put(key("a"), entry(clock(), epoch=epoch + 1))
    await store.close()
    assert await open_one().get(key("a")) is not None


async def test_a_record_that_was_confirmed_is_heard_of(store: Store, clock: Clock) -> None:
    feed = store.feed()
    await store.put(key("own"), entry(clock()), beside("own", "acme").record)
    assert await store.confirm(key("a", "@team"), taken_over(clock()), beside("a"))
    heard: dict[object, Stored] = {}
    async with asyncio.timeout(20):
        while key("a", "@team") not in heard:
            heard.update((found.key, found) for found in (await feed.next()).stored)
    assert heard[key("a", "@team")] == beside("a")
    await feed.close()


async def test_one_tenants_flood_leaves_the_others_what_they_have(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(entries=40))
    mine = [key(str(number), "small") for number in range(8)]
    for where in mine:
        await store.put(where, entry(clock(), tenant="small"))
    for start in range(0, 300, 20):
        clock.now += 1
        await asyncio.gather(
            *(
                store.put(key(str(number), "flood"), entry(clock(), tenant="flood"))
                for number in range(start, start + 20)
            )
        )
    # They are the longest unused of all by far, and still there.
    assert all([await store.get(where) is not None for where in mine])
    flood = [kept.key async for kept in store.scan("flood")]
    assert 0 < len(flood) <= 32 and key("0", "flood") not in flood
    assert (await store.stats()).entries <= 40


async def test_a_flood_of_large_answers_leaves_the_others_theirs(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(bytes=200_000))
    mine = [key(str(number), "small") for number in range(5)]
    for where in mine:
        await store.put(where, entry(clock(), answer=b"x" * 1000, tenant="small"))
    for number in range(60):
        clock.now += 1
        await store.put(key(str(number), "flood"), entry(clock(), answer=b"x" * 15_000, tenant="flood"))
    assert all([await store.get(where) is not None for where in mine])
    assert (await store.stats()).bytes <= 200_000


async def test_two_who_both_want_everything_have_half_each(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(entries=40))
    for start in range(0, 200, 10):
        clock.now += 1
        await asyncio.gather(
            *(
                store.put(key(str(number), tenant), entry(clock(), tenant=tenant))
                for number in range(start, start + 10)
                for tenant in ("one", "other")
            )
        )
    held = [kept.key.tenant async for kept in store.scan()]
    assert 15 <= held.count("one") <= 21 and 15 <= held.count("other") <= 21


async def test_more_tenants_than_places_are_still_a_bounded_store(open_one: OpenStore, clock: Clock) -> None:
    store = open_one(Budget(entries=5))
    for number in range(30):
        clock.now += 1
        await store.put(key("a", f"tenant {number}"), entry(clock()))
    assert 0 < (await store.stats()).entries <= 30


async def test_what_was_learnt_counts_as_well(store: Store, clock: Clock) -> None:
    await store.put(key("a"), entry(clock()), beside("a", "acme").record)
    alone = (await store.stats()).bytes
    learnt = b"x" * 500
    assert await store.teach(key("a"), b"", learnt)
    assert (await store.stats()).bytes == alone + 500
    # It stays with a fresh answer, and goes with the entry.
    await store.put(key("a"), entry(clock()), beside("a", "acme").record)
    assert (await store.stats()).bytes == alone + 500
    assert await store.teach(key("a"), learnt, b"y" * 20)
    assert (await store.stats()).bytes == alone + 20
    await store.delete(key("a"))
    assert await store.stats() == StoreStats(0, 0)
    assert await store.confirm(key("a", "@team"), taken_over(clock()), beside("a"))
    confirmed = (await store.stats()).bytes
    await store.clear("@team")
    assert confirmed > 0 and await store.stats() == StoreStats(0, 0)
