"""`langchain-openai` against the gateway, changed in nothing but the URL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import openai
import orjson
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.clients.support.openai_wire import VECTOR, WEATHER_TOOL
from tests.gateway.support.running import RunningGateway
from tests.gateway.support.upstream import ScriptedUpstream, json_reply

MODEL = "gpt-4o-mini"
TEXT = "Grüße aus Zürich 🌊"


class Place(BaseModel):
    """Where to look."""

    city: str
    unit: str


@pytest.fixture
async def http(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """Connections that end with the test; its own would live as long as the process."""
    # Its own telemetry would try to reach a server.
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def chat(gateway: RunningGateway, http: httpx.AsyncClient) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL, base_url=f"{gateway.url}/v1", api_key="anything", max_retries=0, http_async_client=http
    )


async def test_chat(chat: ChatOpenAI) -> None:
    answer = await chat.ainvoke("Hello")
    assert answer.content == TEXT
    assert answer.usage_metadata is not None and answer.usage_metadata["total_tokens"] == 30


async def test_stream(chat: ChatOpenAI) -> None:
    chunks = [chunk async for chunk in chat.astream("Hello")]
    assert "".join(str(chunk.content) for chunk in chunks) == TEXT and len(chunks) > 3


async def test_a_tool_and_its_result(chat: ChatOpenAI, upstream: ScriptedUpstream) -> None:
    model = chat.bind_tools([WEATHER_TOOL])
    question = HumanMessage("How is the weather?")
    said = await model.ainvoke([question])
    assert said.tool_calls[0]["args"] == {"city": "Zürich", "unit": "celsius"}
    result = ToolMessage("21 °C", tool_call_id=said.tool_calls[0]["id"])
    assert (await model.ainvoke([question, said, result])).content == TEXT
    assert orjson.loads(upstream.received[-1].body)["messages"][-1]["role"] == "tool"


async def test_a_streamed_tool_call(chat: ChatOpenAI) -> None:
    whole = None
    async for chunk in chat.bind_tools([WEATHER_TOOL]).astream("How is the weather?"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and whole.tool_calls[0]["args"] == {"city": "Zürich", "unit": "celsius"}


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_structured_output(chat: ChatOpenAI, upstream: ScriptedUpstream, method: str) -> None:
    answer = await chat.with_structured_output(Place, method=method).ainvoke("Where?")
    assert answer == Place(city="Zürich", unit="celsius")
    sent = orjson.loads(upstream.received[-1].body)
    assert ("response_format" in sent) == (method == "json_schema")


async def test_embeddings(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    # With its length check it would load OpenAI's tokenizer from elsewhere; any other server is used without.
    embedder = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=f"{gateway.url}/v1",
        api_key="anything",
        check_embedding_ctx_length=False,
        http_async_client=http,
    )
    assert await embedder.aembed_documents(["a", "b"]) == [VECTOR, VECTOR]
    assert await embedder.aembed_query("a") == VECTOR


async def test_an_error_has_its_own_class(chat: ChatOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.reply = json_reply(b'{"error":{"message":"No.","type":"t","param":null,"code":"c"}}', 400)
    with pytest.raises(openai.BadRequestError) as caught:
        await chat.ainvoke("Hello")
    assert caught.value.code == "c"
