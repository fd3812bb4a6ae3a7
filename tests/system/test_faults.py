"""What clients see of a failing upstream: every fault at every stage, of a whole answer and of a stream.

Each cell of the table says how the request ends: `200`, or a status and the error's code; for a stream whose
head is out already, `200 CODE` is the code of the one error event at its end. After every cell nothing may be
left behind: no connection of the upstream, no request in flight, no span that did not end, and the next
request is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from benchmarks.fault_proxy import Action, Fault, FaultProxy, Stage
from gateway.wire.headers import TRACE_ID
from telemetry.spans import Kind
from tests.gateway.support.running import CHAT, RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    completion,
    json_reply,
    scripted_upstream,
    stream_reply,
)
from tests.support.gateway_process import running_gateway as running_process
from tests.support.otlp_receiver import OtlpReceiver

# A hang is a failed test long before pytest's own limit.
BOUND_S = 10.0
CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}/v1",
       timeouts: {{connect: 5, first_byte: {patience}, idle: {patience}}}}}
models:
  m: {{upstream: up}}
"""

# A row: fault, stage, how a whole answer ends, how a stream ends ("-": there is no such case).
TABLE = """
close       connect         502 upstream_unreachable        502 upstream_unreachable
half-close  connect         502 upstream_unreachable        502 upstream_unreachable
reset       connect         502 upstream_unreachable        502 upstream_unreachable
stall       connect         504 upstream_timeout            504 upstream_timeout
garbage     connect         502 upstream_invalid_response   502 upstream_invalid_response
delay=0.05  connect         200                             200

close       before-headers  502 upstream_unreachable        502 upstream_unreachable
half-close  before-headers  502 upstream_unreachable        502 upstream_unreachable
reset       before-headers  502 upstream_unreachable        502 upstream_unreachable
stall       before-headers  504 upstream_timeout            504 upstream_timeout
garbage     before-headers  502 upstream_invalid_response   502 upstream_invalid_response
delay=0.05  before-headers  200                             200
drip        before-headers  200                             200
status=429  before-headers  429 rate_limit_exceeded         429 rate_limit_exceeded
status=500  before-headers  500 server_error                500 server_error
status=503  before-headers  503 server_error                503 server_error
page=429    before-headers  429 upstream_error              429 upstream_error
page=502    before-headers  502 upstream_invalid_response   502 upstream_invalid_response

close       in-headers      502 upstream_unreachable        502 upstream_unreachable
half-close  in-headers      502 upstream_unreachable        502 upstream_unreachable
reset       in-headers      502 upstream_unreachable        502 upstream_unreachable
stall       in-headers      504 upstream_timeout            504 upstream_timeout
garbage     in-headers      502 upstream_invalid_response   502 upstream_invalid_response
delay=0.05  in-headers      200                             200

close       after-headers   502 upstream_incomplete         502 upstream_incomplete
half-close  after-headers   502 upstream_incomplete         502 upstream_incomplete
reset       after-headers   502 upstream_incomplete         502 upstream_incomplete
stall       after-headers   504 upstream_timeout            504 upstream_timeout
truncate    after-headers   502 upstream_invalid_response   502 upstream_incomplete
garbage     after-headers   502 upstream_invalid_response   502 upstream_invalid_response
delay=0.05  after-headers   200                             200
drip        after-headers   200                             200

close       between-events  -                               200 upstream_incomplete
half-close  between-events  -                               200 upstream_incomplete
reset       between-events  -                               200 upstream_incomplete
stall       between-events  -                               200 upstream_timeout
truncate    between-events  -                               200 upstream_incomplete
garbage     between-events  -                               200 upstream_invalid_response
delay=0.05  between-events  -                               200

close       mid-body        502 upstream_incomplete         200 upstream_incomplete
half-close  mid-body        502 upstream_incomplete         200 upstream_incomplete
reset       mid-body        502 upstream_incomplete         200 upstream_incomplete
stall       mid-body        504 upstream_timeout            200 upstream_timeout
truncate    mid-body        502 upstream_invalid_response   200 upstream_incomplete
garbage     mid-body        502 upstream_invalid_response   200 upstream_invalid_response
delay=0.05  mid-body        200                             200
drip        mid-body        200                             200

close       after-done      200                             200
half-close  after-done      200                             200
reset       after-done      200                             200
stall       after-done      200                             200
truncate    after-done      200                             200
garbage     after-done      502 upstream_invalid_response   200
"""


def cases() -> list[object]:
    """One test for each cell."""
    made: list[object] = []
    for row in filter(None, TABLE.splitlines()):
        action, stage, *ends = row.split()
        # Two columns of one or two words each; a second word is no number.
        whole, streamed = (
            " ".join(ends).replace(" 200", "|200").replace(" 4", "|4").replace(" 5", "|5").split("|")
        )
        for stream, end in ((False, whole), (True, streamed)):
            if end != "-":
                name = f"{action}-{stage}-{'stream' if stream else 'whole'}"
                made.append(pytest.param(f"{action}@{stage}", stream, end, id=name))
    return made


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        yield server


async def ask(
    gateway: RunningGateway, stream: bool, proxy: FaultProxy | None = None, until: bytes = b""
) -> str:
    """Send one request; returns how it ended, in the table's words.

    With `until`, the proxy holds its fault back until the client has seen so much of the answer.
    """
    if proxy is not None and until:
        proxy.gate.clear()
    async with asyncio.timeout(BOUND_S), gateway.post(body=chat(stream=stream)) as response:
        body = b""
        async for piece in response.content.iter_any():
            body += piece
            if proxy is not None and until in body:
                proxy.gate.set()
    if response.status != 200 or response.content_type == "application/json":
        if response.status == 200:
            assert body == completion()
            return "200"
        return f"{response.status} {error_code(body)}"
    if body == b"".join(EVENTS) + DONE:
        return "200"
    # What came before the failure is the upstream's own, to the byte; then one event says what happened.
    *before, last, rest = body.split(b"\n\n")
    assert b"".join(EVENTS).startswith(b"".join(event + b"\n\n" for event in before))
    assert rest == b"" and last.startswith(b"data: ")
    return f"200 {error_code(last.removeprefix(b'data: '))}"


def error_code(body: bytes) -> str:
    """Return the code of an error object that has all that OpenAI's clients read."""
    error = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    expected = {"upstream_error": "invalid_request_error", "rate_limit_exceeded": "scripted"}
    assert error["type"] in (expected.get(error["code"], "server_error"), "scripted")
    return error["code"]


def seen_before(fault: str) -> bytes:
    """Return what a stream's client has got before the fault."""
    if fault.endswith(Stage.AFTER_DONE):
        return DONE
    return EVENTS[1] if fault.endswith((Stage.BETWEEN_EVENTS, Stage.MID_BODY)) else b""


async def nothing_is_left(gateway: RunningGateway, proxy: FaultProxy) -> None:
    """All that the request held is free again."""
    async with asyncio.timeout(BOUND_S):
        # A fault that holds its connection is over when the gateway has closed it.
        await proxy.quiet()
    async with gateway.get("/metrics") as response:
        assert "forebay_requests_in_flight 0.0" in await response.text()
    assert gateway.gateway.upstreams["up"]._http.in_use == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(("fault", "stream", "end"), cases())
async def test_fault(upstream: ScriptedUpstream, tmp_path: Path, fault: str, stream: bool, end: str) -> None:
    upstream.reply = stream_reply(*EVENTS) if stream else json_reply(completion())
    # Only what stalls meets a short timeout: a busy machine must not fail the other cases.
    patience = 0.1 if fault.startswith("stall") else 30
    async with (
        FaultProxy(upstream.url, Fault.parse(fault)) as proxy,
        running_gateway(CONFIG.format(url=proxy.url, patience=patience), tmp_path, traced=True) as gateway,
    ):
        assert await ask(gateway, stream, proxy, seen_before(fault) if stream else b"") == end
        await nothing_is_left(gateway, proxy)
        assert sorted(span.kind.name for span in gateway.spans) == [Kind.CLIENT.name, Kind.SERVER.name]
        assert await ask(gateway, stream) == "200"
        await nothing_is_left(gateway, proxy)


@pytest.mark.parametrize("stream", [False, True])
async def test_refused(upstream: ScriptedUpstream, tmp_path: Path, stream: bool) -> None:
    upstream.reply = stream_reply(*EVENTS) if stream else json_reply(completion())
    async with (
        FaultProxy(upstream.url) as proxy,
        running_gateway(CONFIG.format(url=proxy.url, patience=30), tmp_path, traced=True) as gateway,
    ):
        assert await ask(gateway, stream) == "200"
        await proxy.refuse()
        assert await ask(gateway, stream) == "502 upstream_unreachable"
        assert len(gateway.spans) == 4
        await proxy.listen()
        assert await ask(gateway, stream) == "200"
        await nothing_is_left(gateway, proxy)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_storm_passes_through_and_then_is_over(
    upstream: ScriptedUpstream, tmp_path: Path, status: int
) -> None:
    code = "rate_limit_exceeded" if status == 429 else "server_error"
    async with (
        FaultProxy(upstream.url, [Fault(Action.STATUS, value=status)] * 20) as proxy,
        running_gateway(CONFIG.format(url=proxy.url, patience=30), tmp_path) as gateway,
    ):
        assert set(await asyncio.gather(*(ask(gateway, False) for _ in range(20)))) == {f"{status} {code}"}
        assert await ask(gateway, False) == "200"
        await nothing_is_left(gateway, proxy)
        # What the upstream asks of its clients reaches them.
        proxy.script.append(Fault(Action.STATUS, Stage.BEFORE_HEADERS, status))
        async with gateway.post() as response:
            assert response.headers.get("retry-after") == (None if status == 500 else "0")


async def test_many_faults_at_once(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    script = [Fault(Action.RESET, stage) for stage in Stage] * 8
    async with (
        FaultProxy(upstream.url, script) as proxy,
        running_gateway(CONFIG.format(url=proxy.url, patience=30), tmp_path) as gateway,
    ):
        ends = await asyncio.gather(*(ask(gateway, False) for _ in script))
        assert set(ends) == {"200", "502 upstream_unreachable", "502 upstream_incomplete"}
        await nothing_is_left(gateway, proxy)


# One of each kind: what the collector of a real process gets after it.
SAMPLE = [
    "reset@before-headers",
    "stall@after-headers",
    "truncate@mid-body",
    "garbage@mid-body",
    "reset@after-done",
]


async def test_the_collector_gets_every_span(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.reply = stream_reply(*EVENTS)
    script = [fault for text in SAMPLE for fault in Fault.parse(text)]
    async with (
        OtlpReceiver() as collector,
        FaultProxy(upstream.url, script) as proxy,
        aiohttp.ClientSession() as http,
    ):
        config = CONFIG.format(url=proxy.url, patience=0.5)
        config += f"cache: null\ntelemetry: {{otlp_endpoint: '{collector.url}'}}\n"
        starting = running_process(tmp_path, config)
        gateway = await asyncio.to_thread(starting.__enter__)
        try:
            for fault in SAMPLE:
                async with asyncio.timeout(BOUND_S):
                    post = http.post(f"{gateway.url}{CHAT}", json=chat(stream=True))
                    async with post as response:
                        await response.read()
                    trace = await collector.wait_for_trace(response.headers[TRACE_ID], {"chat m"})
                    failed = "after-done" not in fault
                    await collector.wait_for(lambda trace=trace: len(trace.spans) == 2)
                assert trace.tree() == ["POST /v1/chat/completions", "  chat m"], fault
                assert {span.failed for span in trace.spans} == {failed}, fault
            async with http.get(f"{gateway.url}/metrics") as response:
                assert "forebay_requests_in_flight 0.0" in await response.text()
            await proxy.quiet()
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
