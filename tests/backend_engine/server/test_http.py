"""The engine's API as the `openai` client and plain HTTP see it, over a real process and the real model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest

MESSAGES: list[Any] = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture
async def client(engine_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{engine_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def http(engine_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(engine_url) as session:
        yield session


async def running(http: aiohttp.ClientSession) -> tuple[float, float]:
    """Return the engine's own count of running requests and its share of used KV blocks."""
    async with http.get("/metrics") as response:
        lines = dict(
            line.rsplit(" ", 1) for line in (await response.text()).splitlines() if not line.startswith("#")
        )
    return (
        float(lines["forebay_engine_num_requests_running"]),
        float(lines["forebay_engine_kv_cache_usage_perc"]),
    )


async def becomes_idle(http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(20):
        while await running(http) != (0.0, 0.0):
            await asyncio.sleep(0.01)


async def test_an_answer_has_text_usage_and_a_reason(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="smollm2", messages=MESSAGES, max_tokens=12, temperature=0
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_stream_adds_up_to_the_whole_answer(client: openai.AsyncOpenAI) -> None:
    settings: dict[str, Any] = {
        "model": "smollm2",
        "messages": MESSAGES,
        "max_tokens": 24,
        "seed": 11,
        "temperature": 0.8,
    }
    whole = await client.chat.completions.create(**settings)
    stream = await client.chat.completions.create(
        **settings, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_without_include_usage_no_chunk_speaks_of_it(http: aiohttp.ClientSession) -> None:
    body = {"model": "smollm2", "messages": MESSAGES, "max_tokens": 3, "stream": True}
    async with http.post("/v1/chat/completions", json=body) as response:
        assert response.content_type == "text/event-stream"
        raw = (await response.read()).decode()
    assert raw.endswith("data: [DONE]\n\n")
    assert "usage" not in raw


async def test_n_choices_differ_and_are_reproducible(client: openai.AsyncOpenAI) -> None:
    settings: dict[str, Any] = {
        "model": "smollm2",
        "messages": MESSAGES,
        "max_tokens": 16,
        "n": 3,
        "seed": 3,
        "temperature": 1.2,
    }
    first = await client.chat.completions.create(**settings)
    again = await client.chat.completions.create(**settings)
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert texts == [choice.message.content for choice in again.choices]


async def test_a_stop_string_ends_the_text_before_it(client: openai.AsyncOpenAI) -> None:
    settings: dict[str, Any] = {
        "model": "smollm2",
        "prompt": "1 2 3 4 5 6 7 8",
        "max_tokens": 40,
        "temperature": 0,
    }
    free = await client.completions.create(**settings)
    stop = free.choices[0].text[6:9]
    stream = await client.completions.create(**settings, stop=[stop], stream=True)
    pieces = [chunk.choices[0].text async for chunk in stream]
    text = "".join(pieces)
    assert stop not in text
    assert free.choices[0].text.startswith(text + stop)
    stopped = await client.completions.create(**settings, stop=[stop])
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].text == text


async def test_logprobs_belong_to_the_text(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="smollm2", messages=MESSAGES, max_tokens=10, temperature=0, logprobs=True, top_logprobs=3
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert b"".join(bytes(entry.bytes or []) for entry in logprobs.content).decode() == (
        answer.choices[0].message.content
    )
    for entry in logprobs.content:
        assert entry.logprob <= 0
        assert entry.top_logprobs[0].token == entry.token, "greedy takes the likeliest"
        assert len(entry.top_logprobs) == 3


async def test_completion_logprobs_have_offsets(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(
        model="smollm2", prompt="The sky is", max_tokens=8, temperature=0, logprobs=2
    )
    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.text_offset is not None
    assert choice.logprobs.tokens is not None
    for offset, token in zip(choice.logprobs.text_offset, choice.logprobs.tokens, strict=True):
        assert choice.text[offset:].startswith(token)


async def test_prompt_logprobs_cover_every_prompt_token(http: aiohttp.ClientSession) -> None:
    body = {
        "model": "smollm2",
        "prompt": "Paris is the capital of France",
        "max_tokens": 1,
        "prompt_logprobs": 2,
    }
    async with http.post("/v1/completions", json=body) as response:
        answer = await response.json()
    positions = answer["choices"][0]["prompt_logprobs"]
    assert len(positions) == answer["usage"]["prompt_tokens"]
    assert positions[0] is None
    for entry in positions[1:]:
        assert sorted(v["rank"] for v in entry.values())[:2] == [1, 2]


async def test_prompt_tokens_that_are_no_text_say_their_bytes(http: aiohttp.ClientSession) -> None:
    text = "Say 漢 – 🎉 twice"
    body = {"model": "smollm2", "prompt": text, "max_tokens": 1, "prompt_logprobs": 0}
    async with http.post("/v1/completions", json=body) as response:
        answer = await response.json()
    (_, *positions) = answer["choices"][0]["prompt_logprobs"]
    entries = [next(iter(position.values())) for position in positions]
    assert all(("bytes" in entry) == ("\ufffd" in entry["decoded_token"]) for entry in entries)
    said = [
        bytes(entry["bytes"]) if "bytes" in entry else entry["decoded_token"].encode() for entry in entries
    ]
    assert text.encode().endswith(b"".join(said)) and "🎉".encode() in b"".join(said)


async def test_min_tokens_and_ignore_eos_hold_off_the_end(http: aiohttp.ClientSession) -> None:
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Say only: ok"}],
        "max_tokens": 40,
        "temperature": 0,
    }
    for extra in ({"min_tokens": 40}, {"ignore_eos": True}):
        async with http.post("/v1/chat/completions", json={**body, **extra}) as response:
            answer = await response.json()
        assert answer["usage"]["completion_tokens"] == 40
        assert answer["choices"][0]["finish_reason"] == "length"


async def test_logit_bias_can_force_a_token(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(
        model="smollm2", prompt="x", max_tokens=3, logit_bias={"28": 100}, temperature=0
    )
    assert len(set(answer.choices[0].text)) == 1


async def test_a_repeated_prompt_reports_cached_tokens(client: openai.AsyncOpenAI) -> None:
    prompt = "A lock keeper's diary, page forty-two. " * 12
    for expected in (False, True):
        answer = await client.completions.create(model="smollm2", prompt=prompt, max_tokens=1)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached = answer.usage.prompt_tokens_details.cached_tokens
        assert bool(cached) == expected
        assert not cached or cached >= answer.usage.prompt_tokens - 32


async def test_salts_do_not_share_cached_tokens(http: aiohttp.ClientSession) -> None:
    body = {"model": "smollm2", "prompt": "Two tenants, one long prompt. " * 12, "max_tokens": 1}
    cached = []
    for salt in ("a", "b", "a"):
        async with http.post("/v1/completions", json=body, headers={"x-forebay-salt": salt}) as response:
            cached.append((await response.json())["usage"]["prompt_tokens_details"]["cached_tokens"])
    assert cached[0] == cached[1] == 0
    assert cached[2] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_blocks(http: aiohttp.ClientSession, stream: bool) -> None:
    body = {
        "model": "smollm2",
        "messages": MESSAGES,
        "max_tokens": 2000,
        "ignore_eos": True,
        "stream": stream,
    }
    call = asyncio.create_task(http.post("/v1/chat/completions", json=body))
    async with asyncio.timeout(20):
        while (await running(http))[0] == 0:
            await asyncio.sleep(0.01)
    if stream:
        response = await call
        await response.content.readany()
        response.close()
    else:
        call.cancel()
    await becomes_idle(http)


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        (
            "/v1/chat/completions",
            {"model": "gpt-9", "messages": MESSAGES},
            404,
            "model_not_found",
            None,
        ),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": MESSAGES, "max_tokens": 9000},
            400,
            "context_length_exceeded",
            "messages",
        ),
        (
            "/v1/completions",
            {"model": "smollm2", "prompt": "word " * 9000},
            400,
            "context_length_exceeded",
            "prompt",
        ),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": MESSAGES, "functions": [{"name": "f"}]},
            400,
            "unsupported_parameter",
            "functions",
        ),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": MESSAGES, "temperature": 9},
            400,
            None,
            "temperature",
        ),
        ("/v1/completions", {"model": "smollm2", "prompt": ""}, 400, None, "prompt"),
        ("/v1/completions", {"model": "smollm2", "prompt": [10**6]}, 400, None, "prompt"),
        (
            "/v1/completions",
            {"model": "smollm2", "prompt": "x", "logit_bias": {"a": 1}},
            400,
            None,
            "logit_bias",
        ),
        ("/v1/embeddings", {"model": "smollm2", "input": "x"}, 404, "not_found", None),
    ],
)
async def test_failures_have_openais_shape(
    http: aiohttp.ClientSession,
    path: str,
    body: dict[str, Any],
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    async with http.post(path, json=body) as response:
        answer = await response.json()
        assert response.status == status, answer
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert (answer["error"]["code"], answer["error"]["param"]) == (code, param)


async def test_a_wrong_method_says_which_is_right(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/chat/completions") as response:
        assert response.status == 405
        assert response.headers["allow"] == "POST"
        assert (await response.json())["error"]["code"] == "method_not_allowed"


async def test_models_and_health(client: openai.AsyncOpenAI, http: aiohttp.ClientSession) -> None:
    assert [model.id async for model in client.models.list()] == ["smollm2"]
    assert (await client.models.retrieve("smollm2")).owned_by == "forebay"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("other")
    for path in ("/health", "/health/ready"):
        async with http.get(path) as response:
            assert response.status == 200


async def test_many_at_once_get_their_own_answers(client: openai.AsyncOpenAI) -> None:
    prompts = [f"Count from {n}: {n}," for n in range(12)]

    async def ask(prompt: str) -> str:
        answer = await client.completions.create(model="smollm2", prompt=prompt, max_tokens=12, temperature=0)
        return answer.choices[0].text

    together = await asyncio.gather(*map(ask, prompts))
    alone = [await ask(prompt) for prompt in prompts[::4]]
    assert together[::4] == alone


@pytest.mark.parametrize("long", [False, True])
async def test_tokens_of_a_chat_are_counted_as_the_answers_usage_has_them(
    client: openai.AsyncOpenAI, http: aiohttp.ClientSession, long: bool
) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    messages = [{"role": "user", "content": "It rains in Ghent. " * (230 if long else 1)}]
    chat: dict[str, Any] = {"model": "smollm2", "messages": messages, "tools": [tool]}
    answer = await client.chat.completions.create(**chat, max_tokens=1, tool_choice="auto")
    async with http.post("/tokenize", json=chat) as response:
        counted = await response.json()
    assert answer.usage is not None
    assert counted["count"] == len(counted["tokens"]) == answer.usage.prompt_tokens
    async with http.get("/v1/models") as response:
        assert (await response.json())["data"][0]["max_model_len"] == counted["max_model_len"] == 8192
    async with http.post("/tokenize", json={**chat, "tool_choice": "none"}) as response:
        assert (await response.json())["count"] < counted["count"]


async def test_tokens_of_a_prompt(http: aiohttp.ClientSession) -> None:
    counts = []
    for more in ({}, {"add_special_tokens": False}):
        async with http.post("/tokenize", json={"prompt": "It rains in Ghent.", **more}) as response:
            counts.append((await response.json())["count"])
    assert 4 <= counts[1] <= counts[0] <= counts[1] + 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"prompt": "a", "messages": MESSAGES}, 400),
        ({"prompt": "a", "words": True}, 400),
        ({"prompt": "a", "model": "other"}, 404),
    ],
)
async def test_what_cannot_be_counted_is_refused(
    http: aiohttp.ClientSession, body: dict[str, Any], status: int
) -> None:
    async with http.post("/tokenize", json=body) as response:
        assert response.status == status and (await response.json())["error"]["message"]
