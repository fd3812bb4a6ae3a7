"""Two gateways over one Redis share identical calls, whoever fails and whoever leaves."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from gateway.fleet.leading import MAX_BYTES, Leading
from gateway.hops import share_calls
from semantic_cache.store.redis import RedisStore
from semantic_cache.store.redis_flights import LEASE_S, RedisFlights
from semantic_cache.store.redis_scripts import PREFIX
from tests.gateway.hops.test_coalesce import STREAM, WHOLE, Script, in_flight, post
from tests.gateway.support.cached import CONFIG, until_kept
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    chunk,
    completion,
    json_reply,
)
from tests.support.redis_server import RedisServer, running_redis

Open = Callable[..., Awaitable[RunningGateway]]


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    with redis.Redis(port=shared_server.port) as client:
        client.flushall()
    return shared_server


@pytest.fixture
def raw(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
async def open_gateway(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[Open]:
    """Opens gateways over a server, each as another host would have one."""
    async with AsyncExitStack() as stack:
        count = 0

        async def open_it(server: RedisServer, more: str = "", **options: Any) -> RunningGateway:
            nonlocal count
            count += 1
            folder = tmp_path / str(count)
            folder.mkdir()
            yaml = options.pop("yaml", CONFIG).format(url=upstream.base_url)
            yaml += f"cache: {{store: '{server.url}', semantic: null{more}}}\n"
            return await stack.enter_async_context(running_gateway(yaml, folder, cached=True, **options))

        yield open_it


@pytest.fixture
async def pair(open_gateway: Open, server: RedisServer) -> tuple[RunningGateway, RunningGateway]:
    return await open_gateway(server), await open_gateway(server)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a leader has heard that somebody follows."""
    heard = asyncio.Event()
    follow = Leading.follow

    def follow_and_tell(self: Leading) -> None:
        follow(self)
        heard.set()

    monkeypatch.setattr(Leading, "follow", follow_and_tell)
    return heard


async def flights(gateway: RunningGateway) -> dict[str, int]:
    """What became of the gateway's calls."""
    async with gateway.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    found = [line for line in lines if line.startswith("forebay_cache_flights_total{")]
    return {line.split('"')[1]: int(float(line.rsplit(" ", 1)[1])) for line in found}


async def counted(gateway: RunningGateway, outcome: str, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while (await flights(gateway)).get(outcome) != count:
            await asyncio.sleep(0.01)


async def readers(raw: redis.Redis, count: int) -> None:
    """Wait until so many gateways follow a call."""
    async with asyncio.timeout(10):
        while sum(raw.scard(name) for name in raw.scan_iter(f"{PREFIX}*:r")) != count:
            await asyncio.sleep(0.005)


def leases(raw: redis.Redis) -> list[bytes]:
    return [name for name in raw.scan_iter(f"{PREFIX}*:f:*") if raw.type(name) == b"string"]


async def lead(
    gateway: RunningGateway, upstream: ScriptedUpstream, body: dict[str, Any]
) -> asyncio.Task[Any]:
    """Let a gateway ask, and wait until its upstream has heard of it."""
    upstream.arrived.clear()
    task = asyncio.create_task(post(gateway, body))
    await asyncio.wait_for(upstream.arrived.wait(), 10)
    return task


@pytest.mark.parametrize("stream", [False, True])
async def test_one_call_answers_both_gateways(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, stream: bool
) -> None:
    script = upstream.reply = Script(stream=stream)
    body = STREAM if stream else chat()
    calls = [asyncio.create_task(post(pair[number % 2], body)) for number in range(20)]
    for gateway in pair:
        await in_flight(gateway, 10)
    script.head.set()
    script.rest.set()
    answers = await asyncio.gather(*calls)
    assert script.calls == 1
    assert {status for status, _, _ in answers} == {200}
    assert len({raw for _, _, raw in answers}) == 1
    assert sorted(verdict for _, verdict, _ in answers) == ["coalesced"] * 19 + ["miss"]


async def test_a_follower_begins_at_the_first_event_and_then_follows_live(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script()
    script.head.set()
    async with pair[0].post(body=STREAM) as leader:
        assert await leader.content.readuntil(b"\n\n") == EVENTS[0]
        async with pair[1].post(body=STREAM) as follower:
            assert follower.headers["x-forebay-cache"] == "coalesced"
            assert await follower.content.readuntil(b"\n\n") == EVENTS[0]
            assert await follower.content.readuntil(b"\n\n") == EVENTS[1]
            script.rest.set()
            assert await follower.read() == EVENTS[2] + EVENTS[3] + DONE
    assert script.calls == 1
    await counted(pair[0], "shared")
    assert await flights(pair[1]) == {"followed": 1}


async def test_what_nobody_follows_is_told_to_nobody(
    pair: tuple[RunningGateway, RunningGateway], raw: redis.Redis
) -> None:
    await post(pair[0], STREAM)
    await counted(pair[0], "led")
    assert not list(raw.scan_iter(f"{PREFIX}*:f:*")), "neither lease nor stream is left"


async def test_what_is_told_goes_away_by_itself(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    script = upstream.reply = Script()
    leader = await lead(pair[0], upstream, STREAM)
    follower = asyncio.create_task(post(pair[1], STREAM))
    await readers(raw, 1)
    script.head.set()
    script.rest.set()
    assert (await leader)[2] == (await follower)[2] == WHOLE
    await counted(pair[0], "shared")
    assert leases(raw) == []
    assert all(0 < raw.pttl(name) <= 6000 for name in raw.scan_iter(f"{PREFIX}*:f:*"))


async def test_a_follower_costs_nothing_and_its_span_points_to_the_leaders(
    open_gateway: Open, server: RedisServer, upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    leading, following = await open_gateway(server, traced=True), await open_gateway(server, traced=True)
    script = upstream.reply = Script(stream=False)
    leader = await lead(leading, upstream, chat())

    async def follow() -> tuple[str, str]:
        async with following.post() as response:
            await response.read()
            return response.headers["x-forebay-request-id"], response.headers["x-forebay-cost-usd"]

    follower = asyncio.create_task(follow())
    await readers(raw, 1)
    script.head.set()
    script.rest.set()
    await leader
    request_id, cost = await follower
    assert cost == "0"
    record = await following.settled(request_id)
    assert (record["attempts"], record["cache"], record["usage"]) == (0, "coalesced", None)
    (server_span,) = [span for span in leading.spans if span.name.startswith("POST")]
    (its_span,) = [span for span in following.spans if span.name.startswith("POST")]
    assert [(link.trace_id, link.span_id) for link in its_span.links or []] == [
        (server_span.context.trace_id, server_span.context.span_id)
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_call_goes_on_for_others_when_its_own_client_leaves(
    pair: tuple[RunningGateway, RunningGateway],
    upstream: ScriptedUpstream,
    heard: asyncio.Event,
    stream: bool,
) -> None:
    script = upstream.reply = Script(stream=stream)
    body = STREAM if stream else chat()
    leader = await lead(pair[0], upstream, body)

    async def follow() -> tuple[str, bytes]:
        async with pair[1].post(body=body) as response:
            return response.headers["x-forebay-request-id"], await response.read()

    follower = asyncio.create_task(follow())
    await asyncio.wait_for(heard.wait(), 10)
    leader.cancel()
    await in_flight(pair[0], 0)
    script.head.set()
    script.rest.set()
    request_id, answer = await follower
    assert answer == (WHOLE if stream else completion())
    assert script.calls == 1
    assert not script.left.is_set()
    record = await pair[1].settled(request_id)
    assert record["attempts"] == 1, "it answers for the call that nobody else answers for"
    if not stream:
        assert record["cost_usd"] == 12, "12 tokens at a dollar each"


async def test_when_those_elsewhere_have_left_as_well_the_call_is_cancelled(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, heard: asyncio.Event
) -> None:
    script = upstream.reply = Script()
    leader = await lead(pair[0], upstream, STREAM)
    follower = asyncio.create_task(post(pair[1], STREAM))
    await asyncio.wait_for(heard.wait(), 10)
    leader.cancel()
    await in_flight(pair[0], 0)
    assert not script.left.is_set()
    follower.cancel()
    await asyncio.wait_for(script.left.wait(), 10)
    assert script.calls == 1


async def test_who_shuts_down_waits_for_the_calls_that_others_follow(
    open_gateway: Open, server: RedisServer, upstream: ScriptedUpstream, tmp_path: Path, heard: asyncio.Event
) -> None:
    other = await open_gateway(server)
    yaml = CONFIG.format(url=upstream.base_url) + f"cache: {{store: '{server.url}', semantic: null}}\n"
    script = upstream.reply = Script()
    script.head.set()
    (tmp_path / "leaving").mkdir()
    leaving = AsyncExitStack()
    gateway = await leaving.enter_async_context(
        running_gateway(yaml, tmp_path / "leaving", cached=True, drain_s=20)
    )
    async with gateway.post(body=STREAM) as first:
        assert await first.content.readuntil(b"\n\n") == EVENTS[0]
        follower = asyncio.create_task(post(other, STREAM))
        await asyncio.wait_for(heard.wait(), 10)
        first.close()
    await in_flight(gateway, 0)
    gone = asyncio.create_task(leaving.aclose())
    while not gateway.gateway.drain.draining:
        await asyncio.sleep(0.005)
    script.rest.set()
    assert (await follower)[1:] == ("coalesced", WHOLE)
    await gone
    assert script.calls == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_a_follower_that_the_leader_never_heard_of_makes_the_call_itself(
    pair: tuple[RunningGateway, RunningGateway],
    upstream: ScriptedUpstream,
    raw: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    begun: bool,
) -> None:
    monkeypatch.setattr(Leading, "follow", lambda self: None)
    script = upstream.reply = Script()
    if begun:
        script.head.set()
    leader = await lead(pair[0], upstream, STREAM)
    if begun:
        async with pair[0].post(body=STREAM) as response:
            assert await response.content.readuntil(b"\n\n") == EVENTS[0]
    upstream.arrived.clear()
    follower = asyncio.create_task(post(pair[1], STREAM))
    await readers(raw, 1)
    monkeypatch.undo()
    leader.cancel()
    await asyncio.wait_for(upstream.arrived.wait(), 10)
    script.head.set()
    script.rest.set()
    # Not even if there was a beginning: without an end it is nobody's.
    assert (await follower)[1:] == ("miss", WHOLE)
    assert script.calls == 2
    await counted(pair[1], "took_over")


async def test_more_calls_than_can_be_followed_are_made_by_each_for_himself(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share_calls, "MAX_FOLLOWED", 0)
    script = upstream.reply = Script()
    leader = await lead(pair[0], upstream, STREAM)
    other = await lead(pair[1], upstream, STREAM)
    script.head.set()
    script.rest.set()
    assert [verdict for _, verdict, _ in await asyncio.gather(leader, other)] == ["miss", "miss"]
    assert await flights(pair[1]) == {"crowded": 1}


async def test_a_call_that_fails_is_made_once_more_for_all(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    script = upstream.reply = Script(stream=False)
    script.failures = 1
    script.rest.set()
    calls = [await lead(pair[0], upstream, chat())]
    calls += [asyncio.create_task(post(pair[1], chat())) for _ in range(5)]
    await readers(raw, 1)
    script.head.set()
    answers = await asyncio.gather(*calls)
    assert script.calls == 2
    assert [status for status, _, _ in answers] == [500] + [200] * 5


async def test_if_the_second_call_fails_too_all_hear_of_it(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    script = upstream.reply = Script(stream=False)
    script.failures = 100
    calls = [await lead(pair[0], upstream, chat())]
    calls += [asyncio.create_task(post(pair[number % 2], chat())) for number in range(10)]
    await readers(raw, 1)
    await in_flight(pair[0], 6)
    await in_flight(pair[1], 5)
    script.head.set()
    answers = await asyncio.gather(*calls)
    assert script.calls == 2
    assert {status for status, _, _ in answers} == {500}


async def test_an_upstream_that_cannot_be_reached_is_the_same_error_everywhere(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    release = asyncio.Event()

    async def hang_up(request: Any, body: bytes) -> Any:
        await release.wait()
        request.transport.abort()
        raise ConnectionError

    upstream.reply = hang_up
    calls = [await lead(pair[0], upstream, chat()), asyncio.create_task(post(pair[1], chat()))]
    await readers(raw, 1)
    release.set()
    answers = await asyncio.gather(*calls)
    assert {status for status, _, _ in answers} == {502}
    assert {json.loads(body)["error"]["code"] for _, _, body in answers} == {"upstream_unreachable"}


async def test_a_stream_that_breaks_breaks_for_all_with_an_error_event(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    release = asyncio.Event()

    async def breaks(request: Any, body: bytes) -> Any:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        await release.wait()
        request.transport.abort()
        return response

    upstream.reply = breaks
    calls = [await lead(pair[0], upstream, STREAM), asyncio.create_task(post(pair[1], STREAM))]
    await readers(raw, 1)
    await in_flight(pair[1], 1)
    release.set()
    for status, _, answer in await asyncio.gather(*calls):
        assert status == 200
        last = answer.rstrip().split(b"\n\n")[-1]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_incomplete"
    assert len(upstream.received) == 1


@pytest.mark.parametrize("late", [False, True])
async def test_an_answer_that_is_too_large_is_not_shared(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis, late: bool
) -> None:
    ready = asyncio.Event()
    large = completion("x" * (MAX_BYTES + 1))

    async def answer(request: Any, body: bytes) -> Any:
        await ready.wait()
        return await json_reply(large)(request, body)

    upstream.reply = answer
    leader = await lead(pair[0], upstream, chat())
    if late:
        # Nobody can come between the answer and its end: it is whole.
        ready.set()
        await leader
    follower = asyncio.create_task(post(pair[1], chat()))
    if not late:
        await readers(raw, 1)
        ready.set()
        assert (await leader)[2] == large
    assert (await follower)[2] == large
    assert len(upstream.received) == 2
    if not late:
        assert await flights(pair[1]) == {"too_large": 1}


async def test_who_follows_a_stream_that_outgrows_the_bound_gets_it_and_who_comes_then_calls(
    open_gateway: Open, server: RedisServer, upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    gateways = [await open_gateway(server) for _ in range(3)]
    rest = asyncio.Event()
    part = chunk({"content": "x" * 30_000})
    count = 2 * MAX_BYTES // len(part)

    async def answer(request: Any, body: bytes) -> Any:
        response = await begin_stream(request)
        for _ in range(count):
            await response.write(part)
            # As a model does, and so that it can be told meanwhile.
            await asyncio.sleep(0.001)
        await rest.wait()
        await response.write(EVENTS[3] + DONE)
        return response

    upstream.reply = answer
    async with gateways[0].post(body=STREAM) as first, gateways[1].post(body=STREAM) as second:
        for response in (first, second):
            assert await response.content.readexactly(count * len(part)) == count * part
        (name,) = raw.scan_iter(f"{PREFIX}*:s")
        assert sum(len(fields[b"m"]) for _, fields in raw.xrange(name)) < 1.01 * MAX_BYTES
        rest.set()
        async with gateways[2].post(body=STREAM) as third:
            bodies = [await response.read() for response in (first, second, third)]
    assert bodies[0] == bodies[1] == EVENTS[3] + DONE
    assert bodies[2] == count * part + EVENTS[3] + DONE
    assert len(upstream.received) <= 2


async def test_who_comes_right_after_the_answer_was_stored_gets_that(
    pair: tuple[RunningGateway, RunningGateway],
    upstream: ScriptedUpstream,
    raw: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await post(pair[0], chat())
    await until_kept(pair[0])
    await counted(pair[0], "led")
    get, looks = RedisStore.get, 0

    async def too_early(self: RedisStore, key: Any) -> Any:
        nonlocal looks
        looks += 1
        return None if looks == 1 else await get(self, key)

    monkeypatch.setattr(RedisStore, "get", too_early)
    status, verdict, _ = await post(pair[1], STREAM)
    assert (status, verdict) == (200, "coalesced")
    assert await flights(pair[1]) == {"stored": 1}
    assert len(upstream.received) == 1
    async with asyncio.timeout(5):
        while leases(raw):
            await asyncio.sleep(0.01)


async def test_a_request_that_must_not_be_stored_takes_no_lease(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    script = upstream.reply = Script(stream=False)
    upstream.arrived.clear()
    request = asyncio.create_task(pair[0].post(cache_control="no-store").__aenter__())
    await asyncio.wait_for(upstream.arrived.wait(), 10)
    assert leases(raw) == []
    script.head.set()
    script.rest.set()
    (await request).release()


async def test_the_switch_keeps_calls_in_their_process(
    open_gateway: Open, server: RedisServer, upstream: ScriptedUpstream
) -> None:
    pair = [await open_gateway(server, ", coalesce: process") for _ in range(2)]
    script = upstream.reply = Script(stream=False)
    calls = [asyncio.create_task(post(gateway, chat())) for gateway in pair for _ in range(2)]
    for gateway in pair:
        await in_flight(gateway, 2)
    script.head.set()
    script.rest.set()
    await asyncio.gather(*calls)
    assert script.calls == 2
    assert [await flights(gateway) for gateway in pair] == [{}, {}]


async def test_a_lost_lease_costs_a_second_call_and_nobody_an_answer(
    pair: tuple[RunningGateway, RunningGateway],
    upstream: ScriptedUpstream,
    raw: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_beat(self: Leading) -> None:
        """The leader lives, but its heart does not beat."""

    monkeypatch.setattr(Leading, "beat", no_beat)
    script = upstream.reply = Script()
    leader = await lead(pair[0], upstream, STREAM)
    follower = asyncio.create_task(post(pair[1], STREAM))
    await readers(raw, 1)
    (name,) = leases(raw)
    raw.delete(name)
    async with asyncio.timeout(10):
        while script.calls < 2:
            await asyncio.sleep(0.01)
    third = asyncio.create_task(post(pair[0], STREAM))
    await in_flight(pair[0], 2)
    script.head.set()
    script.rest.set()
    answers = await asyncio.gather(leader, follower, third)
    assert {answer for _, _, answer in answers} == {WHOLE}
    assert script.calls == 2


async def test_a_server_that_forgets_everything_in_the_middle_costs_nobody_his_answer(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    script = upstream.reply = Script()
    script.head.set()
    async with pair[0].post(body=STREAM) as leader, pair[1].post(body=STREAM) as follower:
        assert await follower.content.readuntil(b"\n\n") == EVENTS[0]
        assert await follower.content.readuntil(b"\n\n") == EVENTS[1]
        raw.flushall()
        script.rest.set()
        assert await follower.read() == EVENTS[2] + EVENTS[3] + DONE
        assert await leader.read() == WHOLE
    assert script.calls == 1


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which it may stop."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=pytest.mark.long)])
async def test_without_the_server_those_who_have_nothing_call_for_themselves(
    open_gateway: Open, own_server: RedisServer, upstream: ScriptedUpstream, how: str
) -> None:
    pair = [await open_gateway(own_server) for _ in range(2)]
    script = upstream.reply = Script()
    leader = await lead(pair[0], upstream, STREAM)
    followers = [asyncio.create_task(post(pair[1], STREAM)) for _ in range(3)]
    with redis.Redis(port=own_server.port) as raw:
        await readers(raw, 1)
    await in_flight(pair[1], 3)
    getattr(own_server, how)()
    async with asyncio.timeout(10):
        while script.calls < 2:
            await asyncio.sleep(0.01)
    script.head.set()
    script.rest.set()
    answers = await asyncio.gather(leader, *followers)
    assert {answer for _, _, answer in answers} == {WHOLE}
    assert script.calls == 2
    assert (await flights(pair[1]))["unavailable"] == 1
    if how == "freeze":
        own_server.thaw()


async def test_a_server_that_is_gone_for_a_moment_breaks_no_stream(
    open_gateway: Open, own_server: RedisServer, upstream: ScriptedUpstream
) -> None:
    pair = [await open_gateway(own_server) for _ in range(2)]
    script = upstream.reply = Script()
    script.head.set()
    async with pair[0].post(body=STREAM) as leader, pair[1].post(body=STREAM) as follower:
        assert await follower.content.readuntil(b"\n\n") == EVENTS[0]
        assert await follower.content.readuntil(b"\n\n") == EVENTS[1]
        own_server.kill()
        script.rest.set()
        assert await leader.read() == WHOLE
        own_server.start()
        assert await follower.read() == EVENTS[2] + EVENTS[3] + DONE
    assert script.calls == 1


@pytest.mark.long
async def test_a_server_that_stays_away_ends_the_stream_like_an_upstream_that_broke(
    open_gateway: Open, own_server: RedisServer, upstream: ScriptedUpstream
) -> None:
    pair = [await open_gateway(own_server) for _ in range(2)]
    script = upstream.reply = Script()
    script.head.set()
    async with pair[0].post(body=STREAM) as leader, pair[1].post(body=STREAM) as follower:
        assert await follower.content.readuntil(b"\n\n") == EVENTS[0]
        assert await follower.content.readuntil(b"\n\n") == EVENTS[1]
        own_server.kill()
        script.rest.set()
        assert await leader.read() == WHOLE
        (error,) = (await follower.read()).rstrip().split(b"\n\n")
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "upstream_incomplete"
    assert await flights(pair[1]) == {"broken": 1}
    assert script.calls == 1


def forget_all(raw: redis.Redis) -> None:
    raw.flushall()


def forget_leases(raw: redis.Redis) -> None:
    for name in leases(raw):
        raw.delete(name)


def hang_up(raw: redis.Redis) -> None:
    for kind in ("normal", "pubsub"):
        raw.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def pause(raw: redis.Redis) -> None:
    raw.client_pause(150)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
async def test_whoever_leaves_and_whatever_the_server_does_nobody_gets_half_an_answer_for_a_whole_one(
    open_gateway: Open, server: RedisServer, raw: redis.Redis, upstream: ScriptedUpstream, seed: int
) -> None:
    chance = random.Random(seed)
    gateways = [await open_gateway(server) for _ in range(3)]
    faults = [forget_all, forget_leases, hang_up, pause]

    async def slowly(request: Any, body: bytes) -> Any:
        response = await begin_stream(request)
        for event in [*EVENTS, DONE]:
            await asyncio.sleep(chance.random() * 0.05)
            await response.write(event)
        return response

    async def client(text: str) -> bytes | None:
        await asyncio.sleep(chance.random() * 0.1)
        body = chat(stream=True, messages=[{"role": "user", "content": text}])
        try:
            async with asyncio.timeout(chance.choice([0.05, 0.1, 30, 30, 30])) as patience:
                async with chance.choice(gateways).post(body=body) as response:
                    assert response.status == 200
                    return await response.read()
        except TimeoutError:
            assert patience.when() is not None
            return None

    upstream.reply = slowly
    for turn in range(60):
        faulty = turn % 2 == 1
        clients = [asyncio.create_task(client(f"{seed} {turn}")) for _ in range(8)]
        if faulty:
            await asyncio.sleep(chance.random() * 0.2)
            chance.choice(faults)(raw)
        async with asyncio.timeout(20):
            answers = [answer for answer in await asyncio.gather(*clients) if answer is not None]
        for answer in answers:
            if answer != WHOLE and not _is_replay(answer):
                assert faulty, answer
                *events, error = answer.rstrip().split(b"\n\n")
                assert WHOLE.startswith(b"".join(event + b"\n\n" for event in events))
                assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "upstream_incomplete"
    async with asyncio.timeout(10):
        while leases(raw) or any([await in_flight_now(gateway) for gateway in gateways]):
            await asyncio.sleep(0.05)


def _is_replay(answer: bytes) -> bool:
    """Whether this is a stored answer: the same content, with an id of its own."""
    *events, done = [event.removeprefix(b"data: ") for event in answer.rstrip().split(b"\n\n")]
    choices = [json.loads(event).get("choices") or [] for event in events if b'"error"' not in event]
    texts = [choice["delta"].get("content") or "" for found in choices for choice in found]
    return done == b"[DONE]" and "".join(texts) == "Grüße 🌊" and len(events) == len(choices)


async def in_flight_now(gateway: RunningGateway) -> bool:
    async with gateway.get("/metrics") as response:
        return "forebay_requests_in_flight 0.0" not in await response.text()


async def test_a_url_that_says_it_is_no_cluster_is_followed_too(
    open_gateway: Open, server: RedisServer, upstream: ScriptedUpstream, heard: asyncio.Event
) -> None:
    url = f"{server.url}{'&' if '?' in server.url else '?'}cluster=false"
    a, b = [await open_gateway(SimpleNamespace(url=url)) for _ in range(2)]
    script = upstream.reply = Script(stream=False)
    leader = await lead(a, upstream, chat())
    follower = asyncio.create_task(post(b, chat()))
    await asyncio.wait_for(heard.wait(), 10)
    script.head.set()
    script.rest.set()
    assert (await leader)[2] == (await follower)[2]
    assert (await follower)[:2] == (200, "coalesced")
    assert script.calls == 1


async def test_what_nobody_foresaw_costs_a_call_and_not_the_answer(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take(self: RedisFlights, key: object, kind: str) -> None:
        raise KeyError("unforeseen")

    monkeypatch.setattr(RedisFlights, "take", take)
    upstream.reply = json_reply(completion("fine"))
    status, *_ = await post(pair[0], chat())
    assert status == 200
    await counted(pair[0], "unavailable")


@pytest.mark.long
async def test_a_call_that_nobody_can_wait_for_ends_although_the_server_is_silent(
    pair: tuple[RunningGateway, RunningGateway],
    upstream: ScriptedUpstream,
    raw: redis.Redis,
    heard: asyncio.Event,
) -> None:
    a, b = pair
    script = upstream.reply = Script()
    script.head.set()
    async with a.post(body=STREAM) as response:
        await response.content.readuntil(b"\n\n")
        follower = asyncio.create_task(post(b, STREAM))
        await asyncio.wait_for(heard.wait(), 10)
        raw.execute_command("CLIENT", "PAUSE", "9000", "ALL")
        response.close()
    follower.cancel()
    await asyncio.wait_for(script.left.wait(), 8)


async def test_a_lease_whose_taking_timed_out_is_given_up(
    pair: tuple[RunningGateway, RunningGateway], upstream: ScriptedUpstream, raw: redis.Redis
) -> None:
    script = upstream.reply = Script(stream=False)
    # Connections are made before the server stops to write.
    script.head.set()
    script.rest.set()
    await post(pair[0], chat(messages=[{"role": "user", "content": "first"}]))
    await counted(pair[0], "led")
    upstream.reply = script = Script(stream=False)
    raw.execute_command("CLIENT", "PAUSE", "600", "WRITE")
    asked = asyncio.create_task(post(pair[0], chat()))
    await counted(pair[0], "unavailable")
    async with asyncio.timeout(LEASE_S - 0.5):
        while leases(raw):
            await asyncio.sleep(0.02)
    script.head.set()
    script.rest.set()
    assert (await asked)[0] == 200
