"""Two gateways that share their accounts, as processes over SQLite and as replicas over Redis."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import orjson
import pytest
import structlog
from aiohttp import web

from tests.gateway.support.running import CHAT, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.upstream import ScriptedUpstream, completion, json_reply
from tests.support.gateway_process import running_gateway as gateway_process
from tests.support.redis_server import running_redis

BODY = orjson.dumps(chat(max_tokens=2))
RESERVED = -(-len(BODY) // 3) + 2
USED = 12
HEADERS = {"content-type": "application/json", **bearer(key_of("t"))}
CALLERS = 100


async def statuses(urls: list[str], upstream: ScriptedUpstream, expected: int) -> list[int]:
    """Let 100 callers at both gateways at once; what is let through ends when the rest is refused."""
    release = asyncio.Event()
    seen: list[int] = []

    async def held(request: web.Request, body: bytes) -> web.StreamResponse:
        await release.wait()
        return await json_reply(completion())(request, body)

    async def call(number: int) -> None:
        url = urls[number % len(urls)]
        async with http.post(url + CHAT, data=BODY, headers=HEADERS) as response:
            seen.append(response.status)
            if seen.count(429) >= CALLERS - expected:
                release.set()

    upstream.reply = held
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.timeout(60):
        await asyncio.gather(*map(call, range(CALLERS)))
    return seen


async def let_through(urls: list[str], upstream: ScriptedUpstream) -> int:
    """Ask one after the other until a gateway refuses."""
    upstream.reply = json_reply(completion())
    passed = 0
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.post(urls[passed % len(urls)] + CHAT, data=BODY, headers=HEADERS) as response:
                if response.status == 429:
                    return passed
                assert response.status == 200
                passed += 1


@pytest.mark.parametrize(
    ("limits", "at_once"),
    [({"rpm": 30}, 30), ({"tpm": 12 * RESERVED + 7}, 12)],
    ids=["requests", "tokens"],
)
async def test_two_processes_never_let_more_through_than_there_is(
    config: str, upstream: ScriptedUpstream, tmp_path: Path, limits: dict[str, int], at_once: int
) -> None:
    store = f"sqlite://{tmp_path}/shared.db"
    # A cached answer would take nothing.
    text = f"{config}\ncache: null\nstate: {{store: '{store}'}}\n"
    text += f"tenants: {json.dumps([tenant('t', **limits)])}\n"
    with ExitStack() as stack:
        urls = []
        for name in "ab":
            (tmp_path / name).mkdir()
            urls.append(stack.enter_context(gateway_process(tmp_path / name, text)).url)
        seen = await statuses(urls, upstream, at_once)
        assert (seen.count(200), seen.count(429)) == (at_once, CALLERS - at_once)
        if "tpm" in limits:
            # What the answers did not use is there again, to the last token, once each process has settled.
            left = limits["tpm"] - at_once * USED
            expected = (left - RESERVED) // USED + 1
            more = 0
            async with asyncio.timeout(20):
                while more < expected:
                    more += await let_through(urls, upstream)
            assert more + await let_through(urls, upstream) == expected
            assert len(upstream.received) * USED <= limits["tpm"]


async def test_replicas_share_their_accounts_over_redis(
    config: str, upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both gateways, all callers and this test share one thread: whoever waits for it long is not stalled.
    monkeypatch.setattr("gateway.state.ledger.redis.STALL_S", 20.0)
    patient = {"socket_timeout": 20.0, "socket_connect_timeout": 20.0, "protocol": 2}
    monkeypatch.setattr("gateway.state.redis_client._STALL", patient)
    monkeypatch.setattr("gateway.state.redis_client.STALL_S", 20.0)
    with running_redis(tmp_path / "redis") as redis:
        text = f"{config}\ntenants: {json.dumps([tenant('t', tpm=12 * RESERVED + 7)])}\n"
        environ = {"FOREBAY__STATE__STORE": redis.url}
        async with (
            running_gateway(text, tmp_path, environ=environ) as first,
            running_gateway(text, tmp_path, environ=environ) as second,
        ):
            urls = [first.url, second.url]
            seen = await statuses(urls, upstream, 12)
            assert (seen.count(200), seen.count(429)) == (12, CALLERS - 12)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_without_redis_nobody_is_let_through_and_with_it_all_is_well(
    config: str, upstream: ScriptedUpstream, tmp_path: Path, fault: str
) -> None:
    upstream.reply = json_reply(completion())
    with running_redis(tmp_path / "redis") as redis:
        text = f"{config}\ntenants: {json.dumps([tenant('t', tpm=1000)])}\n"
        environ = {"FOREBAY__STATE__STORE": redis.url}
        async with running_gateway(text, tmp_path, environ=environ) as gateway:

            async def status() -> int:
                async with gateway.post(**HEADERS) as response:
                    code: int = response.status
                    return code

            assert await status() == 200
            with structlog.testing.capture_logs() as logs:
                getattr(redis, fault)()
                assert [await status(), await status()] == [503, 503]
                if fault == "kill":
                    redis.start()
                else:
                    redis.thaw()
                async with asyncio.timeout(20):
                    while await status() != 200:
                        await asyncio.sleep(0.05)
            ledger = [log["event"] for log in logs if log.get("part") == "ledger"]
            assert ledger == ["state_unavailable", "state_available_again"]
    assert len(upstream.received) == 2
