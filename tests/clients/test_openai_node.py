"""OpenAI's package for Node, changed in nothing but the URL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from tests.clients.support import node
from tests.clients.support.openai_wire import TOOL_ARGUMENTS, VECTOR
from tests.gateway.support.running import RunningGateway
from tests.gateway.support.upstream import EVENTS, ScriptedUpstream, begin_stream, json_reply

TEXT = "Grüße aus Zürich 🌊"


@pytest.fixture(scope="session")
def folder() -> Path:
    return node.installed()


async def run(folder: Path, scenario: str, gateway: RunningGateway) -> object:
    return await node.run(folder, scenario, f"{gateway.url}/v1")


async def test_chat(folder: Path, gateway: RunningGateway) -> None:
    seen = await node.run(folder, "chat", f"{gateway.url}/v1")
    assert seen.pop("requestId").startswith("req_")
    assert seen == {"text": TEXT, "tokens": 30, "route": "gpt-4o-mini"}


async def test_stream(folder: Path, gateway: RunningGateway) -> None:
    assert await run(folder, "stream", gateway) == {"text": TEXT, "tokens": 30}


async def test_tools_whole_and_streamed(folder: Path, gateway: RunningGateway) -> None:
    assert await run(folder, "tools", gateway) == [TOOL_ARGUMENTS, TOOL_ARGUMENTS]


async def test_embeddings(folder: Path, gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    assert await run(folder, "embeddings", gateway) == [VECTOR, VECTOR]
    assert b'"base64"' in upstream.received[-1].body


async def test_an_error_has_its_own_class(
    folder: Path, gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = json_reply(b'{"error":{"message":"No.","type":"t","param":null,"code":"c"}}', 422)
    seen = await node.run(folder, "error", f"{gateway.url}/v1")
    assert seen.pop("requestId").startswith("req_")
    assert seen == {"class": "UnprocessableEntityError", "status": 422, "code": "c"}


async def test_a_stream_that_breaks_off_throws(
    folder: Path, gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def cut(request: web.Request, received: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0] + EVENTS[1])
        return response

    upstream.reply = cut
    seen = await node.run(folder, "streamedError", f"{gateway.url}/v1")
    assert (seen["chunks"], seen["class"], seen["code"]) == (2, "APIError", "upstream_incomplete")


@pytest.mark.parametrize("status", [429, 503])
async def test_it_tries_again_as_the_upstream_asks(
    folder: Path, gateway: RunningGateway, upstream: ScriptedUpstream, status: int
) -> None:
    answer, refused = upstream.reply, []

    async def refuse_twice(request: web.Request, received: bytes) -> web.StreamResponse:
        if len(refused) == 2:
            return await answer(request, received)
        refused.append(status)
        return web.Response(status=status, headers={"retry-after-ms": "1"})

    upstream.reply = refuse_twice
    assert await run(folder, "retries", gateway) == {"text": TEXT}
    assert len(upstream.received) == 3


async def test_its_timeout_cancels_the_upstreams_call(
    folder: Path, gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def silent(request: web.Request, received: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    upstream.reply = silent
    seen = await node.run(folder, "timeout", f"{gateway.url}/v1")
    assert seen["class"] == "APIConnectionTimeoutError"
    await upstream.left.wait()
