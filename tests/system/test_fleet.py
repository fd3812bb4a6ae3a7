"""Two gateways, each with its semantic process, over one Redis: they share calls, and one is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from tests.gateway.support.running import CHAT
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    completion,
    json_reply,
    scripted_upstream,
)
from tests.support.gateway_process import GatewayProcess, free_port, running_gateway
from tests.support.redis_server import running_redis

CONFIG = """
server: {{workers: {workers}}}
upstreams: {{up: {{kind: openai, base_url: "http://127.0.0.1:{upstream}/v1"}}}}
models: {{m: {{upstream: up}}}}
cache: {{store: "{store}", semantic: {{deadline_ms: 20000}}}}
"""
WHOLE = b"".join(EVENTS) + DONE
PATIENCE_S = 60


class Fleet:
    """Two gateways and where their upstream is expected."""

    def __init__(self, gateways: list[GatewayProcess], upstream_port: int) -> None:
        self.gateways = gateways
        self.upstream_port = upstream_port


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    port = free_port()
    with running_redis(tmp_path_factory.mktemp("redis")) as server, ExitStack() as stack:
        gateways = []
        # Workers of one gateway are to each other what gateways are.
        for name, workers in (("one", 1), ("other", 2)):
            folder = tmp_path_factory.mktemp(name)
            (folder / "tmp").mkdir()
            environ = {"FOREBAY__STATE__STORE": f"sqlite://{folder}/state.db", "TMPDIR": f"{folder}/tmp"}
            config = CONFIG.format(workers=workers, upstream=port, store=server.url)
            gateways.append(stack.enter_context(running_gateway(folder, config, **environ)))
        yield Fleet(gateways, port)


@pytest.fixture
async def upstream(fleet: Fleet) -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream(fleet.upstream_port) as upstream:
        yield upstream


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        yield http


class Script:
    """Answers each question with a stream, held up before it or in its middle, and counts the calls."""

    def __init__(self, *held_in_the_middle: str) -> None:
        self.begin = asyncio.Event()
        self.calls: Counter[str] = Counter()
        self._held_in_the_middle = held_in_the_middle

    async def __call__(self, request: web.Request, body: bytes) -> web.StreamResponse:
        text = json.loads(body)["messages"][0]["content"]
        self.calls[text] += 1
        if text not in self._held_in_the_middle:
            await self.begin.wait()
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        await self.begin.wait()
        for event in EVENTS[1:]:
            await response.write(event)
            await asyncio.sleep(0.01)
        await response.write(DONE)
        return response

    async def called(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.calls[text]:
                await asyncio.sleep(0.01)


def question(text: str, *, stream: bool = True) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}


async def ask(
    http: aiohttp.ClientSession, gateway: GatewayProcess, text: str, *, stream: bool = True, **headers: str
) -> tuple[str, bytes]:
    body = question(text, stream=stream)
    async with http.post(f"{gateway.url}{CHAT}", json=body, headers=headers) as response:
        assert response.status == 200
        return response.headers["x-forebay-cache"], await response.read()


async def metric(http: aiohttp.ClientSession, gateway: GatewayProcess, line: str) -> float:
    async with http.get(f"{gateway.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(found.rsplit(" ", 1)[1]) for found in lines if found.startswith(line))


async def until(http: aiohttp.ClientSession, gateway: GatewayProcess, line: str, count: float) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await metric(http, gateway, line) < count:
            await asyncio.sleep(0.02)


async def until_its_tier_answers(http: aiohttp.ClientSession, gateway: GatewayProcess) -> None:
    """Ask new things until the semantic process is there to be asked."""
    asked = 0
    async with asyncio.timeout(PATIENCE_S):
        while not await metric(http, gateway, 'forebay_semantic_calls_total{outcome="answered"}'):
            asked += 1
            await ask(http, gateway, f"How many herons live on island number {asked}?", stream=False)


SEA, RIVER, LAKE = "Tell me of the sea.", "Tell me of the river.", "Tell me of the lake."
PERU = "What is the capital city of Peru?"
# Some hits are answered afresh to see whether they are right; which, the question's digest decides.
LIKE_PERU = ("what is the capital city of peru", "What is the capital city of Peru", "Capital city of Peru?")


async def test_two_hundred_identical_streams_over_both_are_one_call(
    fleet: Fleet, upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    script = upstream.reply = Script()
    calls = [asyncio.create_task(ask(http, fleet.gateways[number % 2], SEA)) for number in range(200)]
    for gateway in fleet.gateways:
        await until(http, gateway, "forebay_requests_in_flight", 100)
    script.begin.set()
    answers = await asyncio.gather(*calls)
    assert script.calls == {SEA: 1}
    assert {body for _, body in answers} == {WHOLE}
    assert Counter(verdict for verdict, _ in answers) == {"coalesced": 199, "miss": 1}


async def test_when_the_one_that_makes_the_calls_is_killed_the_other_goes_on(
    fleet: Fleet, upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    one, other = fleet.gateways
    upstream.reply = json_reply(completion("Lima."))
    await until_its_tier_answers(http, one)
    assert (await ask(http, one, PERU, stream=False))[0] == "miss"
    stored = await metric(http, one, 'forebay_semantic_admissions_total{outcome="stored"}')
    await until(http, one, 'forebay_semantic_admissions_total{outcome="stored"}', max(stored, 1))

    script = upstream.reply = Script(LAKE)
    lost = [asyncio.create_task(ask(http, one, text)) for text in (RIVER, LAKE)]
    await script.called(RIVER)
    await script.called(LAKE)
    waiting = [asyncio.create_task(ask(http, other, RIVER)) for _ in range(50)]
    async with http.post(f"{other.url}{CHAT}", json=question(LAKE)) as begun:
        assert begun.headers["x-forebay-cache"] == "coalesced"
        assert await begun.content.readuntil(b"\n\n") == EVENTS[0]
        await until(http, other, "forebay_requests_in_flight", 51)
        assert script.calls == {RIVER: 1, LAKE: 1}
        children = psutil.Process(one.process.pid).children(recursive=True)
        os.kill(one.process.pid, signal.SIGKILL)
        one.process.wait()
        script.begin.set()
        answers = await asyncio.gather(*waiting)
        rest = await begun.read()
    for call in lost:
        with pytest.raises(aiohttp.ClientError):
            await call
    # Nobody's client had any of the one answer, so it was asked for again, and once.
    assert script.calls == {RIVER: 2, LAKE: 1}
    assert {body for _, body in answers} == {WHOLE}
    assert Counter(verdict for verdict, _ in answers) == {"coalesced": 49, "miss": 1}
    # Of the other a client had the beginning, so it ends as if the upstream had broken off.
    error = json.loads(rest.removeprefix(b"data: "))["error"]
    assert error["code"] == "upstream_incomplete"

    await until(http, other, 'forebay_cache_admissions_total{outcome="stored"}', 1)
    assert (await ask(http, other, RIVER))[0] == "hit-exact"
    assert (await ask(http, other, PERU, stream=False))[0] == "hit-exact"
    # Nothing that this one stores itself may be what it serves.
    fresh = {"cache-control": "no-store"}
    async with asyncio.timeout(PATIENCE_S):
        while "hit-semantic" not in [(await ask(http, other, like, **fresh))[0] for like in LIKE_PERU]:
            await asyncio.sleep(0.05)
    psutil.wait_procs(children, 20)
