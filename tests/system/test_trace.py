"""One trace per request over gateway and engine, two real processes, seen by a real collector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.support.gateway_process import GatewayProcess, running_gateway
from tests.support.otlp_receiver import OtlpReceiver, SeenTrace

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e47%02x"
CONFIG = """
upstreams:
  engine: {kind: engine, kv_memory_mb: 128}
models:
  smollm2: {upstream: engine, model: smollm2-135m-instruct, price: {input: 1, output: 2}}
telemetry: {otlp_endpoint: "%s"}
"""
MESSAGES = [{"role": "user", "content": "Why is the sky blue? SECRET-CANARY-7"}]
PHASES = {"queue", "prefill", "decode"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    collector: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory, smollm2_path: Path
) -> AsyncIterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("traced")
    context = running_gateway(folder, CONFIG % collector.url)
    # The collector lives in this event loop, so waiting for the gateway must not block it.
    gateway = await asyncio.to_thread(context.__enter__)
    try:
        yield gateway
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


pytestmark = pytest.mark.asyncio(loop_scope="module")


def header(number: int) -> dict[str, str]:
    return {"traceparent": f"00-{TRACE_ID % number}-00f067aa0ba902b7-01"}


async def post(
    gateway: GatewayProcess, number: int, path: str = "/v1/chat/completions", **body: Any
) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession(gateway.url) as http,
        http.post(path, json={"model": "smollm2", **body}, headers=header(number)) as response,
    ):
        if response.status == 200:
            assert response.headers["x-forebay-trace-id"] == TRACE_ID % number
        return response.status, await response.read()


def inside(trace: SeenTrace, child: str, parent: str, **which: str) -> None:
    """Check that a span lies within another, give or take the two processes' clocks."""
    inner, outer = trace.find(child, **which), trace.find(parent, kind="client")
    slack = 2_000_000
    assert outer.start_ns - slack <= inner.start_ns <= inner.end_ns <= outer.end_ns + slack


@pytest.mark.parametrize("stream", [False, True])
async def test_every_hop_of_a_request_is_in_one_tree(
    gateway: GatewayProcess, collector: OtlpReceiver, stream: bool
) -> None:
    number = 16 + stream
    status, _ = await post(gateway, number, messages=MESSAGES, max_tokens=6, ignore_eos=True, stream=stream)
    assert status == 200
    trace = await collector.wait_for_trace(
        TRACE_ID % number, lambda t: set(t.names) >= PHASES and len(t.spans) == 7
    )
    assert trace.tree() == [
        "POST /v1/chat/completions",
        "  cache.exact",
        "  chat smollm2-135m-instruct",
        "    POST /v1/chat/completions",
        "      queue",
        "      prefill",
        "      decode",
    ], str(trace)
    root = trace.find("POST /v1/chat/completions", service="forebay-gateway")
    engine = trace.find("POST /v1/chat/completions", service="forebay-engine")
    chat = trace.find("chat smollm2-135m-instruct")
    assert root.parent_id == "00f067aa0ba902b7"
    assert (root.kind, chat.kind, engine.kind) == ("server", "client", "server")
    assert not any(span.failed for span in trace.spans)

    with_usage = [s for s in trace.spans if any(key.startswith("gen_ai.usage.") for key in s.attributes)]
    assert with_usage == [chat], "usage on more than one span would be counted twice"
    assert chat.attributes["gen_ai.usage.output_tokens"] == 6
    assert chat.attributes["gen_ai.request.model"] == "smollm2-135m-instruct"
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["forebay.cost.usd"] > 0

    queue, prefill, decode = trace.find("queue"), trace.find("prefill"), trace.find("decode")
    assert queue.start_ns <= queue.end_ns == prefill.start_ns < prefill.end_ns == decode.start_ns
    assert decode.end_ns > decode.start_ns
    for phase in PHASES:
        inside(trace, phase, "chat smollm2-135m-instruct")
    assert "SECRET-CANARY" not in str(trace), "content is not captured"


async def test_a_callers_mistake_is_no_failure_of_the_server(
    gateway: GatewayProcess, collector: OtlpReceiver
) -> None:
    status, _ = await post(gateway, 32, messages=MESSAGES, max_tokens=6, temperature=9)
    assert status == 400
    trace = await collector.wait_for_trace(TRACE_ID % 32, lambda t: len(t.spans) == 4)
    root = trace.find("POST /v1/chat/completions", service="forebay-gateway")
    chat = trace.find("chat smollm2-135m-instruct")
    engine = trace.find("POST /v1/chat/completions", service="forebay-engine")
    assert (root.failed, chat.failed, engine.failed) == (False, True, False)
    assert chat.attributes["error.type"] == "400"
    assert root.attributes["http.response.status_code"] == 400


async def test_an_unknown_model_ends_at_the_gateway(gateway: GatewayProcess, collector: OtlpReceiver) -> None:
    status, _ = await post(gateway, 33, model="nobody", messages=MESSAGES)
    assert status == 404
    trace = await collector.wait_for_trace(TRACE_ID % 33, {"POST /v1/chat/completions"})
    assert len(trace.spans) == 1
    assert not trace.spans[0].failed


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_told_from_a_failure(
    gateway: GatewayProcess, collector: OtlpReceiver, stream: bool
) -> None:
    number = 48 + stream
    body = {
        "model": "smollm2",
        "messages": MESSAGES,
        "max_tokens": 1500,
        "ignore_eos": True,
        "stream": stream,
    }
    async with aiohttp.ClientSession(gateway.url) as http:
        call = asyncio.create_task(http.post("/v1/chat/completions", json=body, headers=header(number)))
        if stream:
            response = await call
            await response.content.readany()
            response.close()
        else:
            await settled_in_engine(http)
            call.cancel()
    trace = await collector.wait_for_trace(TRACE_ID % number, lambda t: len(t.spans) >= 6)
    for span in trace.spans:
        if span.kind != "internal":
            assert span.attributes["error.type"] == "client_disconnect", str(trace)
    assert trace.find("prefill").end_ns > 0


async def settled_in_engine(http: aiohttp.ClientSession) -> None:
    """Wait until the gateway has a request in flight; the engine has it within moments."""
    async with asyncio.timeout(20):
        while True:
            async with http.get("/metrics") as response:
                if "forebay_requests_in_flight 1.0" in await response.text():
                    break
            await asyncio.sleep(0.02)
    # Long enough for the prompt to be prefilled, which nothing outside the engine can see.
    await asyncio.sleep(1.0)


async def test_a_caller_that_does_not_sample_gets_no_spans(
    gateway: GatewayProcess, collector: OtlpReceiver
) -> None:
    unsampled = {"traceparent": f"00-{TRACE_ID % 64}-00f067aa0ba902b7-00"}
    async with (
        aiohttp.ClientSession(gateway.url) as http,
        http.post(
            "/v1/chat/completions",
            json={"model": "smollm2", "messages": MESSAGES, "max_tokens": 2},
            headers=unsampled,
        ) as response,
    ):
        assert response.status == 200
    await post(gateway, 65, messages=MESSAGES, max_tokens=2)
    await collector.wait_for_trace(TRACE_ID % 65, PHASES)
    assert TRACE_ID % 64 not in collector.traces
