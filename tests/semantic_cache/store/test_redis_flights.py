"""Leases of calls on a real server: one leader at a time, and followers who get all of it or know better."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semantic_cache.errors import StoreUnavailable
from semantic_cache.store.flight_reader import FlightReader, LeaderGone, Missed
from semantic_cache.store.redis import RedisStore
from semantic_cache.store.redis_flights import LEASE_S, Lease, RedisFlights, Seat, Taken
from tests.semantic_cache.support.samples import entry, key
from tests.support.redis_server import RedisServer

KIND = "w"


@pytest.fixture(params=["alone", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty server, or a cluster."""
    if request.param == "alone":
        found = request.getfixturevalue("redis_url")
        assert isinstance(found, str)
        return found
    server = request.getfixturevalue("cluster")
    with redis.Redis(port=server.port) as raw:
        raw.flushall()
    return f"{server.url}?cluster=true"


@contextlib.asynccontextmanager
async def gateways(url: str, count: int) -> AsyncIterator[list[RedisFlights]]:
    """Run so many gateways' leases, each with a store of its own."""
    stores = [RedisStore(url) for _ in range(count)]
    flights = [store.flights() for store in stores]
    try:
        yield flights
    finally:
        for one in flights:
            await one.close()
        for store in stores:
            await store.close()


@pytest.fixture
async def three(url: str) -> AsyncIterator[list[RedisFlights]]:
    async with gateways(url, 3) as flights:
        yield flights


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url.partition("?")[0]) as client:
        yield client


async def taken(flights: RedisFlights) -> Lease:
    place = await flights.take(key("a"), KIND)
    assert isinstance(place, Taken)
    return place.lease


async def seated(flights: RedisFlights) -> Seat:
    place = await flights.take(key("a"), KIND)
    assert isinstance(place, Seat)
    return place


async def test_one_of_many_has_the_lease_and_the_others_follow_it(three: list[RedisFlights]) -> None:
    places = await asyncio.gather(*[flights.take(key("a"), KIND) for flights in three * 10])
    (leader,) = [place.lease for place in places if isinstance(place, Taken)]
    assert {place.lease for place in places if isinstance(place, Seat)} == {leader}
    for other in (key("b"), key("a", "another tenant")):
        assert isinstance(await three[0].take(other, KIND), Taken)
    assert isinstance(await three[0].take(key("a"), "another kind"), Taken)


async def test_a_lease_that_is_given_up_is_anybodys(three: list[RedisFlights]) -> None:
    first = await taken(three[0])
    assert await three[0].release(first, told=False)
    second = await taken(three[1])
    assert await three[0].release(first, told=True)
    assert (await seated(three[2])).lease == second, "only its own lease was given up"


async def test_a_lease_with_followers_who_know_nothing_is_not_given_up(three: list[RedisFlights]) -> None:
    lease = await taken(three[0])
    seat = await seated(three[1])
    assert not await three[0].release(lease, told=False)
    assert (await three[0].renew(lease)) == (True, 1)
    assert await three[0].any_reader(lease) == seat.reader
    three[1].leave(seat)
    async with asyncio.timeout(5):
        while (await three[0].renew(lease)).readers:
            await asyncio.sleep(0.005)
    assert await three[0].any_reader(lease) is None
    assert await three[0].release(lease, told=False)


async def test_it_ends_by_itself_and_is_held_by_who_renews_it(
    three: list[RedisFlights], raw: redis.Redis
) -> None:
    lease = await taken(three[0])
    assert 0 < raw.pttl(lease.name) <= LEASE_S * 1000
    raw.pexpire(lease.name, 50_000)
    await three[0].renew(lease)
    assert raw.pttl(lease.name) <= LEASE_S * 1000
    raw.delete(lease.name)
    assert (await three[0].renew(lease)).held, "it was nobody's"
    raw.delete(lease.name)
    other = await taken(three[1])
    assert not (await three[0].renew(lease)).held
    assert raw.get(other.name) == other.token.encode()


async def test_who_takes_it_hears_that_there_is_an_entry(url: str) -> None:
    store = RedisStore(url)
    flights = store.flights()
    assert await store.put(key("a"), entry(time.time()))
    place = await flights.take(key("a"), KIND)
    assert isinstance(place, Taken)
    assert place.stored
    await flights.close()
    await store.close()


async def test_the_leader_hears_of_a_follower_at_once(three: list[RedisFlights]) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    three[0].bind(heard.put_nowait)
    three[0].start()
    lease = await taken(three[0])
    async with asyncio.timeout(10):
        # Until it listens, nothing is heard; the beat is there for that.
        while heard.empty():
            await seated(three[1])
            await asyncio.sleep(0.01)
    assert heard.get_nowait() == lease.token


async def test_a_follower_reads_from_the_beginning_while_it_is_told(three: list[RedisFlights]) -> None:
    lease = await taken(three[0])
    await three[0].tell(lease, 1, b"one", oldest=1)
    reader = FlightReader(three[1], await seated(three[1]))
    assert await reader.next(patient=False) == [b"one"]
    waits = asyncio.create_task(reader.next(patient=False))
    await three[0].tell(lease, 2, b"two", oldest=1)
    await three[0].tell(lease, 2, b"two", oldest=1)
    assert await waits == [b"two"]
    await three[0].tell(lease, 3, b"three", oldest=1, release=True)
    assert await reader.next(patient=False) == [b"three"]
    with pytest.raises(LeaderGone):
        await reader.next(patient=False)
    await reader.close()


async def test_what_was_told_before_the_lease_went_is_read(three: list[RedisFlights]) -> None:
    lease = await taken(three[0])
    reader = FlightReader(three[1], await seated(three[1]))
    await three[0].tell(lease, 1, b"one", oldest=1, release=True)
    assert await reader.next(patient=False) == [b"one"]
    await reader.close()


async def test_a_hole_is_noticed(three: list[RedisFlights]) -> None:
    lease = await taken(three[0])
    for number in range(1, 6):
        await three[0].tell(lease, number, b"x", oldest=max(1, number - 1))
    reader = FlightReader(three[1], await seated(three[1]))
    with pytest.raises(Missed):
        await reader.next(patient=False)
    await reader.close()


async def test_a_reader_keeps_nobody_waiting(three: list[RedisFlights]) -> None:
    lease = await taken(three[0])
    reader = FlightReader(three[0], await seated(three[0]))
    waits = asyncio.create_task(reader.next(patient=False))
    async with asyncio.timeout(0.9):
        for _ in range(20):
            assert (await three[0].renew(lease)).held
    waits.cancel()
    await reader.close()


async def test_a_call_that_is_cancelled_while_it_takes_the_lease_leaves_none(
    three: list[RedisFlights], raw: redis.Redis
) -> None:
    for _ in range(10):
        task = asyncio.create_task(three[0].take(key("a"), KIND))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            place = await task
            assert isinstance(place, Taken)
            await three[0].release(place.lease, told=True)
        async with asyncio.timeout(5):
            while list(raw.scan_iter("*:f:*")):
                await asyncio.sleep(0.005)


async def test_a_server_that_is_down_is_one_failure(unused_server: Callable[[], str]) -> None:
    async with gateways(unused_server(), 1) as (flights,):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await flights.take(key("a"), KIND)
        with pytest.raises(StoreUnavailable, match="is down"):
            await flights.take(key("a"), KIND)


@pytest.fixture
def unused_server(tmp_path: Any) -> Callable[[], str]:
    return lambda: RedisServer(tmp_path).url


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["tell", "again", "trim", "follow", "forget"]), min_size=1, max_size=25),
    st.integers(1, 5),
)
def test_whatever_happens_a_follower_reads_a_beginning_without_a_hole(
    redis_url: str, script: list[str], kept: int
) -> None:
    async def run() -> None:
        with redis.Redis.from_url(redis_url) as raw:
            raw.flushall()
            async with gateways(redis_url, 2) as (leading, following):
                lease = await taken(leading)
                readers: list[asyncio.Task[list[bytes]]] = []
                number, oldest = 0, 1
                for step in script:
                    if step == "follow":
                        seat = await seated(following)
                        readers.append(asyncio.create_task(read(following, seat)))
                    elif step == "forget":
                        raw.delete(lease.stream)
                    elif step == "trim":
                        oldest = max(oldest, number - kept)
                    else:
                        number += step == "tell" or number == 0
                        await leading.tell(lease, number, b"%d" % number, oldest=oldest)
                await leading.tell(lease, number + 1, b"end", oldest=oldest, release=True)
                told = [b"%d" % n for n in range(1, number + 1)] + [b"end"]
                for said in await asyncio.gather(*readers):
                    assert said == told[: len(said)]

    async def read(flights: RedisFlights, seat: Seat) -> list[bytes]:
        reader = FlightReader(flights, seat)
        said: list[bytes] = []
        with contextlib.suppress(Missed, LeaderGone):
            while b"end" not in said:
                said += await reader.next(patient=False)
        await reader.close()
        return said

    asyncio.run(run())
