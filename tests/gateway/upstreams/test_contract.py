"""What every upstream does alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from gateway.answer import EventStream
from gateway.config.schema import EngineUpstream, OpenAIUpstream, Secret, Timeouts
from gateway.errors import UpstreamGarbage, UpstreamUnreachable
from gateway.upstreams.base import State, Upstream, UpstreamRequest
from gateway.upstreams.engine import Engine, EngineStatus
from gateway.upstreams.openai import OpenAI
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    completion,
    json_reply,
    scripted_upstream,
    stream_reply,
)

TIMEOUTS = Timeouts(connect=1, first_byte=20, idle=20)


def openai(server: ScriptedUpstream) -> Upstream:
    # The slash at the end is what people write.
    config = OpenAIUpstream(base_url=server.base_url + "/", api_key=Secret("sk-key"), timeouts=TIMEOUTS)
    return OpenAI("up", config)


def engine(server: ScriptedUpstream) -> Upstream:
    status = EngineStatus()
    status.update(State.READY, server.url)
    return Engine("up", EngineUpstream(model="tiny", timeouts=TIMEOUTS), status)


@pytest.fixture(params=[openai, engine])
async def running(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> AsyncIterator[Upstream]:
    make: Callable[[ScriptedUpstream], Upstream] = request.param
    made = make(upstream)
    await made.start()
    yield made
    await made.close()


def request(stream: bool = False, **headers: str) -> UpstreamRequest:
    body = b'{"model":"m","stream":true}' if stream else b'{"model":"m"}'
    return UpstreamRequest("/chat/completions", body, stream, "default", headers)


async def test_a_whole_answer(running: Upstream, upstream: ScriptedUpstream) -> None:
    answer = await running.send(request(traceparent="00-1-2-01"))
    assert (answer.status, answer.body) == (200, completion())
    received = upstream.received[0]
    assert (received.path, received.body) == ("/v1/chat/completions", b'{"model":"m"}')
    assert received.headers["traceparent"] == "00-1-2-01"


async def test_a_stream(running: Upstream, upstream: ScriptedUpstream) -> None:
    upstream.reply = stream_reply()
    answer = await running.send(request(stream=True))
    assert isinstance(answer.body, EventStream)
    events = [event.raw async for batch in answer.body for event in batch]
    assert b"".join(events) == b"".join(EVENTS) + DONE
    assert upstream.received[0].headers["accept"] == "text/event-stream"


async def test_an_error(running: Upstream, upstream: ScriptedUpstream) -> None:
    upstream.reply = json_reply(b'{"error":{"message":"No."}}', 429)
    answer = await running.send(request())
    assert (answer.status, answer.body) == (429, b'{"error":{"message":"No."}}')


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_frees_the_connection(
    running: Upstream, upstream: ScriptedUpstream, stream: bool
) -> None:
    async def stall(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    upstream.reply = stall
    sending = asyncio.create_task(running.send(request(stream=stream)))
    await upstream.arrived.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await upstream.left.wait()


async def test_closing_a_stream_frees_the_connection(running: Upstream, upstream: ScriptedUpstream) -> None:
    async def endless(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        while True:
            await response.write(EVENTS[1])

    upstream.reply = endless
    answer = await running.send(request(stream=True))
    answer.close(None)
    await upstream.left.wait()


async def test_it_is_ready_once_it_answers(running: Upstream) -> None:
    await running.send(request())
    assert running.state is State.READY


async def test_calls_one_after_another_share_a_connection(
    running: Upstream, upstream: ScriptedUpstream
) -> None:
    ports = []

    async def whose(request: web.Request, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return await (stream_reply() if b"true" in body else json_reply(completion()))(request, body)

    upstream.reply = whose
    for stream in (False, True, False):
        answer = await running.send(request(stream=stream))
        if isinstance(answer.body, EventStream):
            assert [event async for batch in answer.body for event in batch]
    assert len(ports) == 3 and len(set(ports)) == 1


async def test_it_lists_models(running: Upstream, upstream: ScriptedUpstream) -> None:
    upstream.models = json_reply(b'{"object":"list","data":[{"id":"tiny"}]}')
    assert [card.id for card in await running.models()] == ["tiny"]


async def test_an_engine_that_was_started_again_is_found(upstream: ScriptedUpstream) -> None:
    status = EngineStatus()
    restarted = Engine("up", EngineUpstream(model="tiny", timeouts=TIMEOUTS), status)
    await restarted.start()
    async with scripted_upstream() as first:
        status.update(State.READY, first.url)
        await restarted.send(request())
    status.update(State.READY, upstream.url)
    await restarted.send(request())
    await restarted.close()
    assert len(first.received) == len(upstream.received) == 1


async def test_closed_it_sends_nothing(upstream: ScriptedUpstream) -> None:
    made = openai(upstream)
    await made.start()
    await made.close()
    await made.close()
    with pytest.raises(UpstreamUnreachable):
        await made.send(request())
    assert upstream.received == []


async def test_the_engine_tells_of_its_window_and_counts(upstream: ScriptedUpstream) -> None:
    made = engine(upstream)
    assert isinstance(made, Engine)
    await made.start()
    try:
        upstream.models = json_reply(b'{"object":"list","data":[{"id":"tiny","max_model_len":4096}]}')
        upstream.reply = json_reply(b'{"count":3,"max_model_len":4096,"tokens":[1,2,3]}')
        assert await made.window() == 4096
        assert await made.count_tokens(b'{"messages":[]}', "t") == 3
        assert (upstream.received[-1].path, upstream.received[-1].body) == ("/tokenize", b'{"messages":[]}')
        upstream.reply = json_reply(b'{"error":{"message":"No pictures."}}', 400)
        assert await made.count_tokens(b'{"messages":[]}', "t") is None
        for reply in (b"{}", b'{"data":[]}', b'{"data":7}'):
            upstream.models = upstream.reply = json_reply(reply)
            with pytest.raises(UpstreamGarbage):
                await made.window()
            with pytest.raises(UpstreamGarbage):
                await made.count_tokens(b'{"messages":[]}', "t")
    finally:
        await made.close()
