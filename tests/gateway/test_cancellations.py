"""The client leaves while the request waits, at every place where it can wait."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from gateway.config.schema import EngineUpstream
from gateway.state.settled import SettledRequest, SettledRequests
from gateway.upstreams.engine import Engine, EngineStatus
from telemetry.spans import Kind
from tests.gateway.support.running import CHAT, RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import (
    EVENTS,
    Reply,
    ScriptedUpstream,
    begin_stream,
    completion,
    stream_reply,
)

Settled = asyncio.Queue[SettledRequest]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> Settled:
    """Every request's record as soon as it is settled."""
    queue: Settled = asyncio.Queue()
    add = SettledRequests.add

    def add_and_tell(self: SettledRequests, request: SettledRequest) -> None:
        add(self, request)
        queue.put_nowait(request)

    monkeypatch.setattr(SettledRequests, "add", add_and_tell)
    return queue


class Client:
    """A client that leaves without a word."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, gateway: RunningGateway) -> Client:
        port = int(gateway.url.rpartition(":")[2])
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, *, stream: bool, all_but: int = 0) -> Client:
        body = orjson.dumps(chat(stream=stream))
        head = (
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body[: len(body) - all_but])
        await self._writer.drain()
        return self

    def leave(self) -> None:
        self._writer.transport.abort()


async def send_head_and_stall(request: web.Request, body: bytes) -> web.StreamResponse:
    response = await begin_stream(request)
    await asyncio.Event().wait()
    return response


async def stall(request: web.Request, body: bytes) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def stall_within_a_body(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/json"})
    await response.prepare(request)
    await response.write(completion()[:20])
    await asyncio.Event().wait()
    return response


async def stall_after_an_event(request: web.Request, body: bytes) -> web.StreamResponse:
    response = await begin_stream(request)
    await response.write(EVENTS[0])
    await asyncio.Event().wait()
    return response


async def stall_within_an_event(request: web.Request, body: bytes) -> web.StreamResponse:
    response = await begin_stream(request)
    await response.write(EVENTS[0] + EVENTS[1][:10])
    await asyncio.Event().wait()
    return response


async def nothing_is_left(gateway: RunningGateway) -> None:
    """No request is in flight, and the gateway still serves."""
    async with gateway.get("/metrics") as response:
        assert "forebay_requests_in_flight 0.0" in await response.text()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stage", [stall, send_head_and_stall, stall_within_a_body])
async def test_before_anything_was_answered(
    traced: RunningGateway, upstream: ScriptedUpstream, settled: Settled, stage: Reply, stream: bool
) -> None:
    upstream.reply = stage
    client = await (await Client.connect(traced)).send(stream=stream)
    await upstream.arrived.wait()
    client.leave()
    await upstream.left.wait()
    record = await settled.get()
    assert (record.status, record.error) == (499, "client_disconnect")
    assert record.calls[0].error == "client_disconnect"
    await nothing_is_left(traced)
    assert {span.attributes.get("error.type") for span in traced.spans} == {"client_disconnect"}
    assert {span.kind for span in traced.spans} == {Kind.SERVER, Kind.CLIENT}


@pytest.mark.parametrize("stage", [stall_after_an_event, stall_within_an_event])
async def test_in_the_middle_of_a_stream(
    traced: RunningGateway, upstream: ScriptedUpstream, settled: Settled, stage: Reply
) -> None:
    upstream.reply = stage
    client = await (await Client.connect(traced)).send(stream=True)
    await client.reader.readuntil(EVENTS[0])
    client.leave()
    await upstream.left.wait()
    record = await settled.get()
    assert (record.status, record.error) == (200, "client_disconnect")
    await nothing_is_left(traced)
    assert {span.attributes.get("error.type") for span in traced.spans} == {"client_disconnect"}
    async with traced.get("/metrics") as response:
        # The upstream did nothing wrong.
        assert "forebay_upstream_errors_total{" not in await response.text()


async def test_a_client_that_does_not_read(
    gateway: RunningGateway, upstream: ScriptedUpstream, settled: Settled
) -> None:
    sent = 0

    async def flood(request: web.Request, body: bytes) -> web.StreamResponse:
        nonlocal sent
        response = await begin_stream(request)
        while True:
            await response.write(b": " + b"x" * 65536 + b"\n\n")
            sent += 65536

    upstream.reply = flood
    client = await (await Client.connect(gateway)).send(stream=True)
    await client.reader.read(1)
    # Backpressure reaches the upstream: it is stuck in a write once all buffers between are full.
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.05)
    client.leave()
    await upstream.left.wait()
    assert (await settled.get()).error == "client_disconnect"
    await nothing_is_left(gateway)
    assert sent < 64 * 1024 * 1024


async def test_while_the_client_still_sends_its_body(
    gateway: RunningGateway, upstream: ScriptedUpstream, settled: Settled
) -> None:
    client = await (await Client.connect(gateway)).send(stream=False, all_but=5)
    async with gateway.get("/health"):
        pass
    client.leave()
    assert (await settled.get()).status == 499
    assert upstream.received == []
    await nothing_is_left(gateway)


async def test_while_the_upstream_does_not_accept(tmp_path: Path, settled: Settled) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for other in waiting:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        yaml = f"upstreams: {{up: {{kind: openai, base_url: '{url}'}}}}\nmodels: {{m: {{upstream: up}}}}"
        async with running_gateway(yaml, tmp_path, traced=True) as gateway:
            client = await (await Client.connect(gateway)).send(stream=False)
            while b"in_flight 1.0" not in await (await gateway.get("/metrics")).read():
                pass
            client.leave()
            assert (await settled.get()).error == "client_disconnect"
        for other in waiting:
            other.close()


async def test_while_the_engine_starts(tmp_path: Path, settled: Settled) -> None:
    engine = Engine("engine", EngineUpstream(), EngineStatus(), patience_s=60)
    yaml = "upstreams: {engine: {kind: engine}}\nmodels: {m: {upstream: engine}}"
    async with running_gateway(yaml, tmp_path, upstreams={"engine": engine}) as gateway:
        client = await (await Client.connect(gateway)).send(stream=True)
        while b"in_flight 1.0" not in await (await gateway.get("/metrics")).read():
            pass
        client.leave()
        assert (await settled.get()).error == "client_disconnect"
        await nothing_is_left(gateway)


async def test_between_the_last_event_and_the_end_of_the_connection(
    gateway: RunningGateway, upstream: ScriptedUpstream, settled: Settled
) -> None:
    """A client that leaves with the whole answer in hand has not left early."""
    upstream.reply = stream_reply()
    client = await (await Client.connect(gateway)).send(stream=True)
    await client.reader.readuntil(b"0\r\n\r\n")
    client.leave()
    record = await settled.get()
    assert (record.status, record.error) == (200, None)


async def test_one_client_that_leaves_does_not_disturb_another(
    gateway: RunningGateway, upstream: ScriptedUpstream, settled: Settled
) -> None:
    go_on = asyncio.Event()
    arrived: asyncio.Queue[int] = asyncio.Queue()

    async def wait(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        arrived.put_nowait(1)
        await go_on.wait()
        await response.write(EVENTS[-1])
        return response

    upstream.reply = wait
    leaver = await (await Client.connect(gateway)).send(stream=True)
    stayer = await (await Client.connect(gateway)).send(stream=True)
    await arrived.get()
    await arrived.get()
    leaver.leave()
    await upstream.left.wait()
    go_on.set()
    assert b'"finish_reason":"stop"' in await stayer.reader.readuntil(b"0\r\n\r\n")
    assert {(await settled.get()).error for _ in range(2)} == {"client_disconnect", None}
    stayer.leave()


async def test_many_clients_that_leave_free_all_connections(
    gateway: RunningGateway, upstream: ScriptedUpstream, settled: Settled
) -> None:
    upstream.reply = stall
    for _ in range(20):
        upstream.arrived.clear()
        upstream.left.clear()
        client = await (await Client.connect(gateway)).send(stream=False)
        await upstream.arrived.wait()
        client.leave()
        await upstream.left.wait()
        await settled.get()
    await nothing_is_left(gateway)
    assert gateway.gateway.upstreams["up"]._http.in_use == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("stage", [stall, stall_within_a_body, stall_after_an_event])
async def test_a_shutdown_is_not_the_clients_doing(
    config: str, tmp_path: Path, upstream: ScriptedUpstream, settled: Settled, stage: Reply
) -> None:
    upstream.reply = stage
    async with running_gateway(config, tmp_path, traced=True, drain_s=0.05) as gateway:
        client = await (await Client.connect(gateway)).send(stream=True)
        await upstream.arrived.wait()
        if stage is stall_after_an_event:
            await client.reader.readuntil(EVENTS[0])
    await upstream.left.wait()
    assert (await settled.get()).error == "shutdown"
    assert {span.attributes["error.type"] for span in gateway.spans} == {"shutdown"}
    # What the client was told before the connection closed.
    told = await client.reader.read()
    assert b'"code":"shutting_down"' in told
    assert (b"HTTP/1.1 503" in told) == (stage is not stall_after_an_event)
    client.leave()
