"""Identical requests that are under way share one upstream call, whoever comes and goes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import CHAT, RunningGateway, chat
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    completion,
    json_reply,
)

STREAM = chat(stream=True)
WHOLE = b"".join(EVENTS) + DONE


class Script:
    """A reply that goes on only when it is told to."""

    def __init__(self, *, stream: bool = True) -> None:
        self.head = asyncio.Event()
        self.rest = asyncio.Event()
        self.left = asyncio.Event()
        self.stream = stream
        self.failures = 0
        self.calls = 0

    async def __call__(self, request: Any, body: bytes) -> Any:
        self.calls += 1
        try:
            await self.head.wait()
            if self.calls <= self.failures:
                error = b'{"error":{"message":"down","type":"server_error","param":null,"code":null}}'
                return await json_reply(error, 500)(request, body)
            if not self.stream:
                await self.rest.wait()
                return await json_reply(completion())(request, body)
            response = await begin_stream(request)
            await response.write(EVENTS[0] + EVENTS[1])
            await self.rest.wait()
            await response.write(EVENTS[2] + EVENTS[3] + DONE)
            return response
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise


async def in_flight(gateway: RunningGateway, count: int) -> None:
    """Wait until the gateway works on so many requests."""
    async with asyncio.timeout(20):
        while True:
            async with gateway.get("/metrics") as response:
                if f"forebay_requests_in_flight {count:.1f}" in await response.text():
                    return
            await asyncio.sleep(0.005)


async def post(gateway: RunningGateway, body: dict[str, Any]) -> tuple[int, str, bytes]:
    async with gateway.post(body=body) as response:
        return response.status, response.headers["x-forebay-cache"], await response.read()


@pytest.mark.parametrize("stream", [False, True])
async def test_all_get_the_one_answer(
    gateway: RunningGateway, upstream: ScriptedUpstream, stream: bool
) -> None:
    script = upstream.reply = Script(stream=stream)
    body = STREAM if stream else chat()
    calls = [asyncio.create_task(post(gateway, body)) for _ in range(20)]
    await in_flight(gateway, 20)
    script.head.set()
    script.rest.set()
    answers = await asyncio.gather(*calls)
    assert script.calls == 1
    assert {status for status, _, _ in answers} == {200}
    assert len({raw for _, _, raw in answers}) == 1
    verdicts = sorted(verdict for _, verdict, _ in answers)
    assert verdicts == ["coalesced"] * 19 + ["miss"]


async def test_who_comes_late_begins_at_the_first_event_and_then_follows_live(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script()
    script.head.set()
    async with gateway.post(body=STREAM) as leader:
        assert await leader.content.readuntil(b"\n\n") == EVENTS[0]
        async with gateway.post(body=STREAM) as follower:
            assert follower.headers["x-forebay-cache"] == "coalesced"
            assert await follower.content.readuntil(b"\n\n") == EVENTS[0]
            assert await follower.content.readuntil(b"\n\n") == EVENTS[1]
            script.rest.set()
            assert await follower.read() == EVENTS[2] + EVENTS[3] + DONE
    assert script.calls == 1


@pytest.mark.parametrize("leaver", [0, 1])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_others_get_their_answer_whoever_leaves(
    gateway: RunningGateway, upstream: ScriptedUpstream, stream: bool, leaver: int
) -> None:
    script = upstream.reply = Script(stream=stream)
    body = STREAM if stream else chat()
    calls = [asyncio.create_task(post(gateway, body))]
    await in_flight(gateway, 1)
    calls += [asyncio.create_task(post(gateway, body)) for _ in range(2)]
    await in_flight(gateway, 3)
    calls.pop(leaver).cancel()
    await in_flight(gateway, 2)
    script.head.set()
    script.rest.set()
    for status, _, raw in await asyncio.gather(*calls):
        assert status == 200
        assert b"Hello!" in raw or raw == WHOLE
    assert script.calls == 1
    assert not script.left.is_set()


async def test_the_heir_of_a_leader_that_left_answers_for_the_cost(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script(stream=False)
    leader = asyncio.create_task(post(gateway, chat()))
    await in_flight(gateway, 1)

    async def follow() -> tuple[str, float]:
        async with gateway.post() as response:
            await response.read()
            return response.headers["x-forebay-request-id"], float(response.headers["x-forebay-cost-usd"])

    follower = asyncio.create_task(follow())
    await in_flight(gateway, 2)
    leader.cancel()
    await in_flight(gateway, 1)
    script.head.set()
    script.rest.set()
    request_id, cost = await follower
    assert cost == 12, "12 tokens at a dollar each"
    assert (await gateway.settled(request_id))["attempts"] == 1


async def test_when_all_have_left_the_call_is_cancelled_and_nothing_stored(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script()
    calls = [asyncio.create_task(post(gateway, STREAM)) for _ in range(3)]
    await in_flight(gateway, 3)
    for call in calls:
        call.cancel()
    await asyncio.wait_for(script.left.wait(), 10)
    await in_flight(gateway, 0)


async def test_a_leader_that_fails_is_followed_by_one_and_not_by_all(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script(stream=False)
    script.failures = 1
    script.rest.set()
    calls = [asyncio.create_task(post(gateway, chat())) for _ in range(10)]
    await in_flight(gateway, 10)
    script.head.set()
    answers = await asyncio.gather(*calls)
    assert script.calls == 2
    assert sorted(status for status, _, _ in answers) == [200] * 9 + [500]


async def test_if_the_second_call_fails_too_all_hear_of_it(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script(stream=False)
    script.failures = 100
    calls = [asyncio.create_task(post(gateway, chat())) for _ in range(10)]
    await in_flight(gateway, 10)
    script.head.set()
    answers = await asyncio.gather(*calls)
    assert script.calls == 2
    assert {status for status, _, _ in answers} == {500}


async def test_a_stream_that_breaks_breaks_for_all_with_an_error_event(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()

    async def breaks(request: Any, body: bytes) -> Any:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        await release.wait()
        request.transport.abort()
        return response

    upstream.reply = breaks
    calls = [asyncio.create_task(post(gateway, STREAM)) for _ in range(4)]
    await in_flight(gateway, 4)
    release.set()
    for status, _, raw in await asyncio.gather(*calls):
        assert status == 200
        last = raw.rstrip().split(b"\n\n")[-1]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_incomplete"
    assert len(upstream.received) == 1


async def test_a_request_for_a_fresh_answer_goes_alone(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script(stream=False)
    script.head.set()
    first = asyncio.create_task(post(gateway, chat()))
    await in_flight(gateway, 1)

    async def fresh() -> str:
        async with gateway.post(cache_control="no-cache") as response:
            return str(response.headers["x-forebay-cache"])

    second = asyncio.create_task(fresh())
    await in_flight(gateway, 2)
    script.rest.set()
    assert (await first)[1] == "miss"
    assert await second == "miss"
    assert script.calls == 2


async def test_five_hundred_identical_streams_are_one_call(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    script = upstream.reply = Script()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def stream() -> bytes:
            async with http.post(gateway.url + CHAT, json=STREAM) as response:
                return await response.read()

        calls = [asyncio.create_task(stream()) for _ in range(500)]
        await in_flight(gateway, 500)
        script.head.set()
        script.rest.set()
        answers = await asyncio.gather(*calls)
    assert script.calls == 1
    assert set(answers) == {WHOLE}
    await until_kept(gateway)
    status, verdict, _ = await post(gateway, STREAM)
    assert (status, verdict) == (200, "hit-exact")
