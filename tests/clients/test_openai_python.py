"""The `openai` package with what `tests/gateway/test_sdk.py` leaves out: tools, base64, retries, timeouts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import openai
import orjson
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from tests.clients.support.openai_wire import TOOL_ARGUMENTS, VECTOR, WEATHER_TOOL
from tests.gateway.support.running import RunningGateway
from tests.gateway.support.upstream import ScriptedUpstream

MODEL = "gpt-4o-mini"
ASK = [{"role": "user", "content": "How is the weather in Zürich?"}]


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="anything") as made:
        yield made


async def test_a_tool_call_and_its_result(client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    first = await client.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER_TOOL])
    call = first.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", TOOL_ARGUMENTS)
    assert first.choices[0].finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": call.id, "content": "21 °C"}
    said = first.choices[0].message.model_dump(exclude_none=True)
    second = await client.chat.completions.create(
        model=MODEL, messages=[*ASK, said, result], tools=[WEATHER_TOOL]
    )
    assert second.choices[0].message.content == "Grüße aus Zürich 🌊"
    sent = orjson.loads(upstream.received[-1].body)
    assert sent["messages"][-1] == result and sent["tools"] == [WEATHER_TOOL]


@pytest.mark.parametrize("usage", [False, True])
async def test_a_streamed_tool_call(client: AsyncOpenAI, usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    stream = await client.chat.completions.create(
        model=MODEL, messages=ASK, tools=[WEATHER_TOOL], stream=True, **options
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert calls[0].function.name == "get_weather"
    assert "".join(call.function.arguments or "" for call in calls) == TOOL_ARGUMENTS
    assert (chunks[-1].usage is not None) == usage


async def test_the_streaming_helper_puts_a_tool_call_together(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[WEATHER_TOOL]) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments == orjson.loads(TOOL_ARGUMENTS)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_embeddings(client: AsyncOpenAI, upstream: ScriptedUpstream, encoding: str | None) -> None:
    """Asked for nothing, the package asks for base64 itself, and decodes it."""
    options = {"encoding_format": encoding} if encoding else {}
    answer = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], **options)
    assert orjson.loads(upstream.received[-1].body)["encoding_format"] == (encoding or "base64")
    assert [item.index for item in answer.data] == [0, 1]
    if encoding == "base64":
        assert all(isinstance(item.embedding, str) for item in answer.data)
    else:
        assert [item.embedding for item in answer.data] == [VECTOR, VECTOR]
    assert answer.usage.total_tokens == 6


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms"])
async def test_the_package_tries_again_as_the_upstream_asks(
    client: AsyncOpenAI, upstream: ScriptedUpstream, status: int, header: str
) -> None:
    answer, refused = upstream.reply, []

    async def refuse_twice(request: web.Request, received: bytes) -> web.StreamResponse:
        if len(refused) == 2:
            return await answer(request, received)
        refused.append(request.headers.get("x-stainless-retry-count"))
        body = (
            b'{"error":{"message":"Slow down.","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
        )
        return web.Response(
            status=status, body=body, content_type="application/json", headers={header: "0.001"}
        )

    upstream.reply = refuse_twice
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
    assert raw.parse().choices[0].message.content and raw.retries_taken == 2
    assert len(upstream.received) == 3


async def test_it_does_not_try_again_if_told_so(client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    async def refuse(request: web.Request, received: bytes) -> web.StreamResponse:
        body = b'{"error":{"message":"No.","type":"tokens","param":null,"code":"insufficient_quota"}}'
        headers = {"x-should-retry": "false"}
        return web.Response(status=429, body=body, content_type="application/json", headers=headers)

    upstream.reply = refuse
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model=MODEL, messages=ASK)
    assert caught.value.code == "insufficient_quota" and len(upstream.received) == 1


async def test_its_timeout_cancels_the_upstreams_call(
    client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    async def silent(request: web.Request, received: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    upstream.reply = silent
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.2, max_retries=0).chat.completions.create(
            model=MODEL, messages=ASK
        )
    await upstream.left.wait()


async def test_an_unreachable_upstream_is_an_internal_server_error(
    client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    async def cut(request: web.Request, received: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    upstream.reply = cut
    with pytest.raises(openai.InternalServerError) as caught:
        await client.with_options(max_retries=0).chat.completions.create(model=MODEL, messages=ASK)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_unreachable")
