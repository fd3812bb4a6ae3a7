"""Limits over HTTP: what is reserved, charged and given back, and what a client is told."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web

from gateway.config.schema import Limits
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of, store_key, tenant
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    chunk,
    completion,
    json_reply,
    stream_reply,
)
from tests.support.gateway_process import free_port

KEY = bearer(key_of("t"))
Run = Callable[..., AbstractAsyncContextManager[RunningGateway]]


@pytest.fixture
def run(config: str, tmp_path: Path) -> Run:
    """Runs a gateway whose tenant `t` has these limits."""

    def run(**limits: float) -> AbstractAsyncContextManager[RunningGateway]:
        text = f"{config}\ntenants: {json.dumps([tenant('t', **limits)])}\n"
        return running_gateway(text, tmp_path)

    return run


@pytest.fixture
async def roomy(run: Run) -> AsyncIterator[RunningGateway]:
    """A gateway whose tenant has limits that are far away."""
    async with run(rpm=1000, tpm=100_000, usd_per_day=10) as running:
        yield running


def remove(folder: Path) -> None:
    """Take the state database away from under a running gateway."""
    for file in folder.glob("state.db*"):
        file.unlink()


async def charged(gateway: RunningGateway, request_id: str) -> dict[str, Any]:
    """What a request was charged, once it is settled."""
    async with asyncio.timeout(10):
        while True:
            async with gateway.get(f"/forebay/requests/{request_id}", headers=KEY) as response:
                if response.status == 200:
                    found: dict[str, Any] = (await response.json())["charged"]
                    return found
            await asyncio.sleep(0.005)


async def left(gateway: RunningGateway, path: str = "/v1/embeddings") -> tuple[int, int]:
    """Requests and tokens that are left, by way of a request that reserves and is then refused."""
    async with gateway.post(path, {"model": "*"}, **KEY) as response:
        assert response.status == 404
        headers = response.headers
        return (
            int(headers["x-ratelimit-remaining-requests"]) + 1,
            int(headers["x-ratelimit-remaining-tokens"]) + 5,
        )


async def post(
    gateway: RunningGateway, body: dict[str, Any] | None = None
) -> tuple[int, Any, dict[str, Any]]:
    async with gateway.post(body=body, **KEY) as response:
        await response.read()
        request_id = response.headers["x-forebay-request-id"]
        return response.status, response.headers, await charged(gateway, request_id)


async def test_every_answer_says_how_much_is_left(run: Run) -> None:
    async with run(rpm=5, tpm=1000) as gateway:
        body = chat(max_tokens=10)
        reserved = -(-len(json.dumps(body, separators=(",", ":"))) // 3) + 10
        status, headers, _ = await post(gateway, body)
        assert status == 200
        assert headers["x-ratelimit-limit-requests"] == "5"
        assert headers["x-ratelimit-remaining-requests"] == "4"
        assert headers["x-ratelimit-limit-tokens"] == "1000"
        assert headers["x-ratelimit-remaining-tokens"] == str(1000 - reserved)
        assert headers["x-ratelimit-reset-requests"].startswith("1m0")
        # An error has them as well.
        assert await left(gateway) == (4, 988)


async def test_a_tenant_without_limits_costs_nothing(run: Run, tmp_path: Path) -> None:
    async with run() as gateway:
        async with gateway.post(**KEY) as response:
            assert response.status == 200
            assert not [name for name in response.headers if name.lower().startswith("x-ratelimit")]
        assert not (tmp_path / "state.db").exists()


async def test_only_the_limited_rate_is_told(run: Run) -> None:
    async with run(rpm=5) as gateway, gateway.post(**KEY) as response:
        names = {name.lower() for name in response.headers if name.lower().startswith("x-ratelimit")}
    assert names == {f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset")}


@pytest.mark.parametrize(
    ("limits", "kind", "code", "named"),
    [
        (
            {"rpm": 1},
            "requests",
            "rate_limit_exceeded",
            "requests per min (RPM): Limit 1, Used 1, Requested 1",
        ),
        ({"tpm": 60}, "tokens", "rate_limit_exceeded", "tokens per min (TPM): Limit 60, Used 50, Requested"),
        ({"usd_per_day": 0.00007}, "insufficient_quota", "insufficient_quota", "US dollars per day (USD)"),
    ],
)
async def test_a_refusal_names_the_limit(
    run: Run, upstream: ScriptedUpstream, limits: dict[str, float], kind: str, code: str, named: str
) -> None:
    usage = {"prompt_tokens": 40, "completion_tokens": 10}
    upstream.reply = json_reply(completion(usage=usage))
    async with run(**limits) as gateway:
        assert (await post(gateway, chat(max_tokens=5)))[0] == 200
        async with gateway.post(body=chat(max_tokens=5), **KEY) as response:
            assert response.status == 429
            error = (await response.json())["error"]
            headers = response.headers
        assert (error["type"], error["code"]) == (kind, code) and named in error["message"]
        wait_ms = int(headers["retry-after-ms"])
        assert int(headers["retry-after"]) == -(-wait_ms // 1000)
        if code == "rate_limit_exceeded":
            assert 50_000 < wait_ms <= 61_000 and "x-should-retry" not in headers
            assert "Please try again in " in error["message"]
        else:
            assert 0 < wait_ms <= 86_400_000 and headers["x-should-retry"] == "false"
        async with gateway.get("/metrics") as response:
            limit = "usd" if kind == "insufficient_quota" else kind
            assert (
                f'forebay_limit_rejections_total{{limit="{limit}",tenant="t"}} 1.0' in await response.text()
            )
    assert len(upstream.received) == 1


async def test_a_request_that_can_never_fit_is_not_to_be_tried_again(run: Run) -> None:
    async with run(tpm=100) as gateway, gateway.post(body=chat(max_tokens=100), **KEY) as response:
        assert response.status == 429 and response.headers["x-should-retry"] == "false"
        assert "retry-after" not in response.headers
        assert "Request too large" in (await response.json())["error"]["message"]


async def test_an_answer_is_charged_what_its_upstream_counted(roomy: RunningGateway) -> None:
    before = await left(roomy)
    _, _, charge = await post(roomy)
    # 10 tokens at 1 USD and 2 at 2 USD per million.
    assert charge == {"requests": 1, "tokens": 12, "usd": pytest.approx(14e-6)}
    assert await left(roomy) == (before[0] - 1, before[1] - 12)


async def test_a_stream_is_charged_like_any_other_answer(
    roomy: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = stream_reply()
    _, _, charge = await post(roomy, chat(stream=True))
    assert (charge["requests"], charge["tokens"]) == (1, 12)


async def test_a_stream_without_usage_is_counted(
    config: str, tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    text = config.replace('secret"', 'secret", stream_usage: false')
    upstream.reply = stream_reply(*[chunk({"content": "word"}) for _ in range(7)], chunk({}, "stop"))
    async with running_gateway(
        f"{text}\ntenants: {json.dumps([tenant('t', tpm=1000)])}\n", tmp_path
    ) as gateway:
        body = chat(stream=True)
        _, _, charge = await post(gateway, body)
    assert charge["tokens"] == -(-len(json.dumps(body, separators=(",", ":"))) // 3) + 7


async def test_a_whole_answer_without_usage_is_counted(
    roomy: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = json_reply(completion("x" * 400, usage=None))
    _, _, charge = await post(roomy)
    assert 100 < charge["tokens"] < 140


async def test_a_stream_that_was_left_is_charged_as_far_as_it_went(
    roomy: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def endless(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        for _ in range(20):
            await response.write(chunk({"content": "word"}))
        await asyncio.Event().wait()
        return response

    upstream.reply = endless
    body = chat(stream=True, max_tokens=500)
    before = await left(roomy)
    async with roomy.post(body=body, **KEY) as response:
        received = b""
        while received.count(b"word") < 20:
            received += await response.content.readany()
        request_id = response.headers["x-forebay-request-id"]
        response.close()
    charge = await charged(roomy, request_id)
    prompt = -(-len(json.dumps(body, separators=(",", ":"))) // 3)
    assert (charge["requests"], charge["tokens"]) == (1, prompt + 20)
    assert await left(roomy) == (before[0] - 1, before[1] - prompt - 20)


async def test_what_never_reached_an_upstream_is_free(tmp_path: Path) -> None:
    nobody = f"""
upstreams: {{up: {{kind: openai, base_url: "http://127.0.0.1:{free_port()}/v1"}}}}
models: {{m: {{upstream: up, price: {{input: 1}}}}}}
tenants: {json.dumps([tenant("t", rpm=100, tpm=2000, usd_per_day=1)])}
"""
    async with running_gateway(nobody, tmp_path) as gateway:
        before = await left(gateway)
        status, _, charge = await post(gateway)
        assert (status, charge) == (502, {"requests": 0, "tokens": 0, "usd": 0.0})
        async with gateway.post(body=chat("nope"), **KEY) as response:
            assert response.status == 404
        assert await left(gateway) == before


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_an_error_of_the_upstream_counts_as_a_request_only(
    roomy: RunningGateway, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.reply = json_reply(b'{"error": {"message": "no"}}', status)
    before = await left(roomy)
    assert (await post(roomy))[2] == {"requests": 1, "tokens": 0, "usd": 0.0}
    assert await left(roomy) == (before[0] - 1, before[1])


async def test_a_stream_that_broke_is_charged_as_far_as_it_went(
    roomy: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def cut(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0] + EVENTS[1])
        assert request.transport is not None
        request.transport.close()
        return response

    upstream.reply = cut
    async with roomy.post(body=chat(stream=True), **KEY) as response:
        await response.read()
        charge = await charged(roomy, response.headers["x-forebay-request-id"])
    assert 0 < charge["tokens"] < 60


async def test_a_model_without_a_price_is_not_for_a_budget(run: Run, upstream: ScriptedUpstream) -> None:
    async with run(usd_per_day=1) as gateway, gateway.post(body=chat("same"), **KEY) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "model_not_priced"
    assert upstream.received == []


async def test_an_absurd_usage_overflows_nothing(roomy: RunningGateway, upstream: ScriptedUpstream) -> None:
    upstream.reply = json_reply(completion(usage={"prompt_tokens": 10**30, "completion_tokens": -5}))
    assert (await post(roomy))[2]["tokens"] == 10**12
    async with roomy.post(**KEY) as response:
        assert response.status == 429


async def test_limits_of_a_created_key_hold(config: str, tmp_path: Path) -> None:
    key, _ = store_key(tmp_path, "s", Limits(rpm=1))
    async with running_gateway(config, tmp_path) as gateway:
        for status in (200, 429):
            async with gateway.post(**bearer(key)) as response:
                assert response.status == status


async def test_an_open_gateway_may_have_limits_too(config: str, tmp_path: Path) -> None:
    text = f"{config}\ntenants: [{{name: default, limits: {{rpm: 1}}}}]\n"
    async with running_gateway(text, tmp_path) as gateway:
        for status in (200, 429):
            async with gateway.post() as response:
                assert response.status == status


async def test_a_hundred_callers_never_get_more_than_there_is(run: Run, upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()

    async def held(request: web.Request, body: bytes) -> web.StreamResponse:
        await release.wait()
        return await json_reply(completion())(request, body)

    upstream.reply = held
    statuses: list[int] = []
    body = chat(max_tokens=2)
    reserved = -(-len(json.dumps(body, separators=(",", ":"))) // 3) + 2

    async with run(tpm=10 * reserved + 5, rpm=1000) as gateway:

        async def call() -> None:
            async with gateway.post(body=body, **KEY) as response:
                statuses.append(response.status)
                if statuses.count(429) == 90:
                    release.set()

        await asyncio.gather(*(call() for _ in range(100)))
        assert (statuses.count(200), statuses.count(429)) == (10, 90)
        assert (await left(gateway))[1] == 10 * reserved + 5 - 10 * 12


async def test_a_locked_ledger_lets_nobody_through_and_recovers(
    roomy: RunningGateway, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    assert (await post(roomy))[0] == 200
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    try:
        with structlog.testing.capture_logs() as logs:
            other.execute("BEGIN EXCLUSIVE")
            for _ in range(2):
                async with roomy.post(**KEY) as response:
                    assert response.status == 503
                    assert (await response.json())["error"]["code"] == "state_unavailable"
            other.execute("ROLLBACK")
            assert (await post(roomy))[0] == 200
    finally:
        other.close()
    assert [log["event"] for log in logs if log.get("part") == "ledger"] == [
        "state_unavailable",
        "state_available_again",
    ]
    assert len(upstream.received) == 2


async def test_a_client_that_leaves_while_the_ledger_is_locked_takes_nothing(
    roomy: RunningGateway, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    before = await left(roomy)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        waiting = asyncio.ensure_future(roomy.post(**KEY).__aenter__())
        async with asyncio.timeout(10):
            while (await in_flight(roomy)) != 1:
                await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(10):
            while (await in_flight(roomy)) != 0:
                await asyncio.sleep(0.001)
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert await left(roomy) == before and upstream.received == []


async def in_flight(gateway: RunningGateway) -> int:
    async with gateway.get("/metrics") as response:
        line = next(
            line
            for line in (await response.text()).splitlines()
            if line.startswith("forebay_requests_in_flight ")
        )
    return int(float(line.split()[1]))


async def test_a_removed_ledger_is_begun_anew(roomy: RunningGateway, tmp_path: Path) -> None:
    for _ in range(2):
        assert (await post(roomy))[0] == 200
    remove(tmp_path)
    assert (await post(roomy))[0] == 200
    with sqlite3.connect(tmp_path / "state.db") as db:
        assert db.execute("SELECT count(*) FROM taken").fetchone()[0] >= 1
    db.close()


async def test_a_damaged_ledger_lets_nobody_through_until_it_is_whole(
    roomy: RunningGateway, tmp_path: Path
) -> None:
    assert (await post(roomy))[0] == 200
    remove(tmp_path)
    (tmp_path / "state.db").write_bytes(b"not a database" * 1000)
    async with roomy.post(**KEY) as response:
        assert response.status == 503
    (tmp_path / "state.db").unlink()
    assert (await post(roomy))[0] == 200


async def test_the_stream_of_a_limited_tenant_keeps_its_bytes(
    roomy: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = stream_reply()
    async with roomy.post(body=chat(stream=True), **KEY) as response:
        assert await response.read() == b"".join(EVENTS) + DONE
