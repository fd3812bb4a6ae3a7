"""The large model of the live cascade speaks OpenAI's wire format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from benchmarks.peers.mock_large import MODEL, Mock
from benchmarks.peers.mock_openai import KEY

TABLE = {"Which city?": "It is Oslo."}
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    mock = Mock(TABLE)
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", mock.chat), web.get("/count", mock.count)])
    async with TestServer(app) as server:
        yield server


def client(server: TestServer, key: str = KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{server.make_url('/v1')}", api_key=key, max_retries=0)


def asked(text: str = "Which city?") -> Any:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}]}


async def test_whole_answers_and_streams_say_the_same_and_are_counted(server: TestServer) -> None:
    async with client(server) as openai_client:
        whole = await openai_client.chat.completions.create(**asked())
        stream = await openai_client.chat.completions.create(
            **asked(), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert whole.choices[0].message.content == "It is Oslo."
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "It is Oslo."
    assert whole.usage == chunks[-1].usage
    assert whole.usage is not None and (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (6, 3)
    async with TestClient(server) as http, http.get("/count") as response:
        assert await response.json() == {"requests": 2, "prompt_tokens": 12, "completion_tokens": 6}


async def test_what_it_does_not_know_is_refused(server: TestServer) -> None:
    async with client(server) as openai_client:
        with pytest.raises(openai.BadRequestError):
            await openai_client.chat.completions.create(**asked("Which river?"))
    async with client(server, "sk-other") as openai_client:
        with pytest.raises(openai.AuthenticationError):
            await openai_client.chat.completions.create(**asked())
