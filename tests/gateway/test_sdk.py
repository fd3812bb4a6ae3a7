"""The `openai` package, as applications use it, against the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI

from tests.gateway.support.running import RunningGateway
from tests.gateway.support.upstream import EVENTS, ScriptedUpstream, begin_stream, json_reply, stream_reply

HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="anything", max_retries=0) as made:
        yield made


async def test_chat(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="auto", messages=HELLO)
    assert answer.choices[0].message.content == "Hello!"
    assert answer.usage is not None and answer.usage.total_tokens == 12
    assert answer._request_id is not None and answer._request_id.startswith("req_")


@pytest.mark.parametrize("usage", [False, True])
async def test_streamed_chat(client: AsyncOpenAI, upstream: ScriptedUpstream, usage: bool) -> None:
    upstream.reply = stream_reply()
    options = {"stream_options": {"include_usage": True}} if usage else {}
    stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "Grüße 🌊"
    assert [chunk.usage is not None for chunk in chunks] == [False] * len(EVENTS) + [True] * usage


async def test_embeddings(client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.reply = json_reply(
        b'{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.5]}],'
        b'"usage":{"prompt_tokens":1,"total_tokens":1}}'
    )
    answer = await client.embeddings.create(model="any-embedder", input="a", encoding_format="float")
    assert answer.data[0].embedding == [0.5]


async def test_models(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["auto", "m", "same"]
    assert (await client.models.retrieve("auto")).owned_by == "forebay"


async def test_the_raw_answer_has_our_headers(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    assert raw.headers["x-forebay-route"] == "m" and raw.parse().choices


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
async def test_errors_of_the_upstream_have_their_own_class(
    client: AsyncOpenAI, upstream: ScriptedUpstream, status: int, kind: type[openai.APIStatusError]
) -> None:
    upstream.reply = json_reply(b'{"error":{"message":"No.","type":"t","param":"p","code":"c"}}', status)
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="m", messages=HELLO)
    assert (caught.value.code, caught.value.param, caught.value.type) == ("c", "p", "t")
    assert caught.value.request_id is not None and caught.value.request_id.startswith("req_")


async def test_our_own_errors_have_their_class_too(client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="*", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(
            model="m", messages=HELLO, extra_headers={"x-forebay-session": "two words"}
        )
    with pytest.raises(openai.APIStatusError) as status:
        await client.post("/audio/speech", cast_to=object, body={})
    assert status.value.status_code == 404


async def test_a_stream_that_breaks_off_raises(client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    async def cut(request, body):
        response = await begin_stream(request)
        await response.write(EVENTS[0] + EVENTS[1])
        return response

    upstream.reply = cut
    stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
    seen = []
    with pytest.raises(openai.APIError) as caught:
        async for chunk in stream:
            seen.append(chunk)  # noqa: PERF401  # what came before the error counts
    assert len(seen) == 2
    assert caught.value.code == "upstream_incomplete"


async def test_a_report_is_skipped_by_the_client(client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.reply = stream_reply()
    stream = await client.chat.completions.create(
        model="m", messages=HELLO, stream=True, extra_headers={"x-forebay-report": "1"}
    )
    assert len([chunk async for chunk in stream]) == len(EVENTS)


async def test_closing_a_stream_closes_the_upstreams(client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    async def endless(request, body):
        response = await begin_stream(request)
        while True:
            await response.write(EVENTS[1])

    upstream.reply = endless
    stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await upstream.left.wait()
