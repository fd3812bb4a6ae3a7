"""What a Redis server can do to its clients: be down, slow, full, restarted, or a cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from semantic_cache.errors import StoreUnavailable
from semantic_cache.record import Record
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Budget, Store, StoreEvent
from semantic_cache.store.redis import RedisStore
from semantic_cache.store.redis_scripts import PREFIX, TENANTS, entry_prefix, member_of, tag_of
from tests.semantic_cache.support.samples import Clock, entry, key
from tests.support.redis_server import RedisServer, running_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which it may stop."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """The shared server as others see it."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def open_at(clock: Clock, events: dict[StoreEvent, int]) -> AsyncIterator[Callable[..., RedisStore]]:
    stores: list[RedisStore] = []

    def note(event: StoreEvent, count: int) -> None:
        events[event] += count

    def open_it(url: str, budget: Budget | None = None) -> RedisStore:
        stores.append(RedisStore(url, budget, on_event=note, clock=clock, timeout_s=0.2))
        return stores[-1]

    yield open_it
    for store in stores:
        await store.close()


def name_of(of: ExactKey) -> str:
    return entry_prefix(tag_of(of.tenant)) + member_of(of.digest)


async def until_kept(store: Store, name: str, now: float) -> None:
    """Put an entry as soon as the store takes it again."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            if await store.put(key(name), entry(now)) and await store.get(key(name)):
                return
        await asyncio.sleep(0.02)


async def test_redis_itself_drops_an_entry_at_the_end_of_its_time(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    await open_at(redis_url).put(key("a"), entry(clock(), ttl=60, stale=30))
    assert 80_000 < raw.pttl(name_of(key("a"))) <= 90_000


async def test_what_redis_dropped_leaves_the_budget(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    store = open_at(redis_url)
    await store.put(key("a"), entry(clock(), ttl=60))
    await store.put(key("b"), entry(clock(), ttl=600))
    raw.delete(name_of(key("a")))
    clock.now += 61
    await store.put(key("c"), entry(clock()))
    assert (await store.stats()).entries == 2
    await store.clear()
    assert raw.keys("*") == []


async def test_a_corrupt_entry_is_a_miss_and_deleted(
    open_at: Callable[..., RedisStore],
    redis_url: str,
    raw: redis.Redis,
    clock: Clock,
    events: dict[StoreEvent, int],
) -> None:
    store = open_at(redis_url)
    await store.put(key("a"), entry(clock()))
    raw.setrange(name_of(key("a")), 20, "?")
    assert await store.get(key("a")) is None
    assert events[StoreEvent.CORRUPT] == 1
    await store.close()
    assert raw.exists(name_of(key("a"))) == 0


async def test_a_value_of_another_kind_is_a_miss_and_is_replaced(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    raw.lpush(name_of(key("a")), "x")
    store = open_at(redis_url)
    assert await store.get(key("a")) is None
    await store.put(key("a"), entry(clock()))
    assert await store.get(key("a")) is not None


async def test_names_show_neither_tenant_nor_content(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    await open_at(redis_url).put(key("a", "acme"), entry(clock()))
    assert all(b"acme" not in name for name in raw.keys("*"))


async def test_clear_leaves_what_is_not_ours(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    store = open_at(redis_url)
    await store.put(key("a"), entry(clock()))
    raw.set("theirs", 1)
    # An entry that the index has lost, as after an eviction of Redis's own.
    await store.put(key("b"), entry(clock()))
    raw.delete(f"{PREFIX}{{{tag_of('acme')}}}:used", TENANTS)
    assert await store.clear() == 2
    assert raw.keys(f"{PREFIX}*e:*") == [] and raw.exists("theirs")


async def test_a_flood_of_one_tenant_does_not_evict_another(
    open_at: Callable[..., RedisStore], redis_url: str, clock: Clock
) -> None:
    store = open_at(redis_url, Budget(entries=40))
    for number in range(5):
        await store.put(key(str(number), "small"), entry(clock()))
    for number in range(100):
        await store.put(key(str(number), "flood"), entry(clock()))
    assert (await store.stats()).entries <= 40
    for number in range(5):
        assert await store.get(key(str(number), "small")) is not None


async def test_a_server_that_lost_its_scripts_gets_them_again(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    store = open_at(redis_url)
    await store.put(key("a"), entry(clock()))
    raw.script_flush()
    assert await store.put(key("b"), entry(clock()))


async def test_a_connection_that_the_server_closed_meanwhile_is_nobodys_failure(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    store = open_at(redis_url)
    await store.put(key("a"), entry(clock()))
    assert await store.get(key("a")) is not None
    assert raw.client_kill_filter(_type="normal", skipme=True) == 2
    for pipe in (store._link._server._reads, store._link._server._writes):
        while not pipe._connection.lost:
            await asyncio.sleep(0.01)
    assert await store.get(key("a")) is not None
    assert await store.put(key("a"), entry(clock()))


async def test_all_callers_share_two_connections(
    open_at: Callable[..., RedisStore], redis_url: str, raw: redis.Redis, clock: Clock
) -> None:
    before = len(raw.client_list())
    store = open_at(redis_url)
    await asyncio.gather(*(store.put(key(str(n)), entry(clock())) for n in range(50)))
    await asyncio.gather(*(store.get(key(str(n))) for n in range(200)))
    assert len(raw.client_list()) == before + 2


async def test_nobody_there_is_one_line_and_every_call_is_refused_soon(
    open_at: Callable[..., RedisStore], clock: Clock, events: dict[StoreEvent, int]
) -> None:
    store = open_at("redis://user:secret@127.0.0.1:1/0")
    with capture_logs() as logs:
        for _ in range(50):
            with pytest.raises(StoreUnavailable):
                await store.get(key("a"))
            with pytest.raises(StoreUnavailable):
                await store.put(key("a"), entry(clock()))
    assert [line["event"] for line in logs] == ["store_unavailable"]
    assert "secret" not in repr(logs)
    assert events[StoreEvent.UNAVAILABLE] == 100


async def test_recovers_from_a_restart_without_one_of_its_own(
    open_at: Callable[..., RedisStore], server: RedisServer, clock: Clock
) -> None:
    store = open_at(server.url)
    await store.put(key("a"), entry(clock()))
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.get(key("a"))
    server.start()
    await until_kept(store, "b", clock())
    # The restarted server kept nothing.
    assert await store.get(key("a")) is None


async def test_a_frozen_server_holds_nobody_up_for_long_and_recovers(
    open_at: Callable[..., RedisStore], server: RedisServer, clock: Clock, events: dict[StoreEvent, int]
) -> None:
    store = open_at(server.url)
    await store.put(key("a"), entry(clock()))
    server.freeze()
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            results = await asyncio.gather(*(store.get(key("a")) for _ in range(100)), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        server.thaw()
        await until_kept(store, "b", clock())
    assert [line["event"] for line in logs] == ["store_unavailable", "store_recovered"]
    assert await store.get(key("a")) == entry(clock())


async def test_a_flapping_server_is_two_lines(
    open_at: Callable[..., RedisStore], server: RedisServer, clock: Clock
) -> None:
    store = open_at(server.url)
    with capture_logs() as logs:
        for round_ in range(3):
            await until_kept(store, str(round_), clock())
            server.freeze()
            with pytest.raises(StoreUnavailable):
                await store.get(key("a"))
            server.thaw()
        await until_kept(store, "last", clock())
    assert [line["event"] for line in logs] == ["store_unavailable", "store_recovered"]


async def test_whoever_leaves_does_not_leave_an_answer_for_others(
    open_at: Callable[..., RedisStore], server: RedisServer, clock: Clock
) -> None:
    store = open_at(server.url)
    for name in ("mine", "yours"):
        await store.put(key(name), entry(clock(), answer=f'{{"whose":"{name}"}}'.encode()))
    server.freeze()
    leaving = [asyncio.ensure_future(store.get(key("mine"))) for _ in range(40)]
    while len(store._link._server._reads._connection._replies) < len(leaving):
        await asyncio.sleep(0)
    for call in leaving:
        call.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    server.thaw()
    for _ in range(100):
        found = await store.get(key("yours"))
        assert found is not None and found.answer == b'{"whose":"yours"}'


async def test_a_server_that_refuses_to_write_is_still_read(
    open_at: Callable[..., RedisStore], server: RedisServer, clock: Clock
) -> None:
    store = open_at(server.url)
    await store.put(key("a"), entry(clock()))
    with redis.Redis(port=server.port) as raw:
        raw.config_set("maxmemory-policy", "noeviction")
        raw.config_set("maxmemory", 1)
        with capture_logs() as logs:
            for _ in range(5):
                with pytest.raises(StoreUnavailable):
                    await store.put(key("b"), entry(clock()))
                assert await store.get(key("a")) is not None
        assert [line["store"] for line in logs] == ["redis writes"]
        raw.config_set("maxmemory", 0)
    await until_kept(store, "b", clock())


async def test_a_wrong_password_is_unavailable(
    open_at: Callable[..., RedisStore], server: RedisServer
) -> None:
    with redis.Redis(port=server.port) as raw:
        raw.config_set("requirepass", "right")
    store = open_at(server.url)
    with capture_logs() as logs, pytest.raises(StoreUnavailable):
        await store.get(key("a"))
    assert len(logs) == 1
    assert await open_at(server.url.replace("//", "//:right@")).get(key("a")) is None


async def test_a_cluster_is_a_store_like_any_other(
    open_at: Callable[..., RedisStore], cluster: RedisServer, clock: Clock
) -> None:
    store = open_at(f"{cluster.url}?cluster=true", Budget(entries=20))
    for number in range(40):
        tenant = f"tenant {number % 4}"
        assert await store.put(key(str(number), tenant), entry(clock()))
        assert await store.get(key(str(number), tenant)) == entry(clock())
    assert 0 < (await store.stats()).entries <= 20
    await store.put(key("x", "acme"), entry(clock()))
    await store.delete(key("x", "acme"))
    assert await store.get(key("x", "acme")) is None
    await store.put(key("x", "acme"), entry(clock()))
    # What a group has of a tenant lies in another slot than the tenant's own.
    shared = entry(clock(), tenant="@team", contributor="acme")
    assert await store.confirm(key("x", "@team"), shared)
    assert not await store.confirm(key("x", "@team"), shared)
    await store.purge("acme", lambda epochs: epochs.purged(model="another"))
    assert await store.get(key("x", "@team")) == shared
    await store.purge("acme", lambda epochs: epochs.purged())
    assert await store.get(key("x", "@team")) is None
    assert await store.clear("acme") == 1
    assert await store.clear() > 0
    assert (await store.stats()).entries == 0


async def test_a_cluster_can_be_followed(
    open_at: Callable[..., RedisStore], cluster: RedisServer, clock: Clock
) -> None:
    store = open_at(f"{cluster.url}?cluster=true")
    await store.clear()
    feed, held, epochs = store.feed(), set(), {}

    async def until(count: int) -> None:
        async with asyncio.timeout(20):
            while len(held) != count:
                batch = await feed.next()
                if batch.anew:
                    held.clear()
                epochs.update(batch.epochs)
                held.update(stored.key for stored in batch.stored)
                held.difference_update(batch.gone)

    def record(text: str) -> Record:
        return Record(scope=b"s" * 32, text=text, model="large", stale_until=clock() + 600)

    for number in range(6):
        where = key(str(number), f"tenant {number % 3}")
        assert await store.put(where, entry(clock(), tenant=where.tenant), record(str(number)))
    await until(6)
    assert len([kept async for kept in store.scan()]) == 6
    assert await store.teach(where, b"", b"\x92\xc4\x01x\x90")
    await store.purge(None, lambda known: known.purged())
    assert await store.get(where) is None
    await until(5)
    await store.clear()
    await until(0)
    assert epochs[where.tenant].now == 1
    await feed.close()


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n+nobody asked\r\n", b""]
)
async def test_what_is_no_redis_server_is_unavailable(
    open_at: Callable[..., RedisStore], said: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        store = open_at(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/1")
        with pytest.raises(StoreUnavailable):
            await store.get(key("a"))
        await store.close()
