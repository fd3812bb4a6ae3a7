"""Structured output and tools as the unmodified `openai` client sees them, over a real process and model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import jsonschema
import openai
import pytest
from pydantic import BaseModel, Field


class Bird(BaseModel):
    name: str
    diet: Literal["seeds", "insects", "fish"]
    wingspan_cm: int = Field(ge=1, le=400)
    mate: Bird | None


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"$ref": "#/$defs/Unit"}},
            "required": ["city", "unit"],
            "additionalProperties": False,
            "$defs": {"Unit": {"enum": ["celsius", "fahrenheit"]}},
        },
    },
}
TIME: Any = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
}
NOW: Any = {"type": "function", "function": {"name": "now"}}
ASK: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
SETTINGS: dict[str, Any] = {"model": "smollm2", "temperature": 0, "max_tokens": 80}


@pytest.fixture
async def client(engine_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{engine_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def check_arguments(tool: Any, arguments: str) -> None:
    jsonschema.Draft202012Validator(tool["function"]["parameters"]).validate(json.loads(arguments))


async def test_parse_gives_an_object_of_the_callers_class(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(
        **SETTINGS, messages=[{"role": "user", "content": "Invent a bird."}], response_format=Bird, n=2
    )
    for choice in answer.choices:
        assert isinstance(choice.message.parsed, Bird)
        assert choice.finish_reason == "stop"


async def test_a_json_object_is_one_even_when_the_limit_is_near(client: openai.AsyncOpenAI) -> None:
    for max_tokens in (8, 30):
        answer = await client.chat.completions.create(
            **{**SETTINGS, "max_tokens": max_tokens},
            messages=[{"role": "user", "content": "Tell me everything about Paris as JSON."}],
            response_format={"type": "json_object"},
        )
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)
        assert answer.choices[0].finish_reason == "stop"


async def test_a_streamed_object_equals_the_whole_one_and_has_its_logprobs(
    client: openai.AsyncOpenAI,
) -> None:
    settings: dict[str, Any] = {
        **SETTINGS,
        "messages": [{"role": "user", "content": "Invent a bird."}],
        "logprobs": True,
    }
    async with client.chat.completions.stream(**settings, response_format=Bird) as stream:
        async for _ in stream:
            pass
        answer = await stream.get_final_completion()
    choice = answer.choices[0]
    assert isinstance(choice.message.parsed, Bird)
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    said = b"".join(bytes(entry.bytes or []) for entry in choice.logprobs.content).decode()
    assert said == choice.message.content


@pytest.mark.parametrize("stream", [False, True])
async def test_required_makes_a_call(client: openai.AsyncOpenAI, stream: bool) -> None:
    settings: dict[str, Any] = {
        **SETTINGS,
        "messages": ASK,
        "tools": [WEATHER, TIME],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    if stream:
        async with client.chat.completions.stream(**settings) as events:
            kinds = [event.type async for event in events]
            answer: Any = await events.get_final_completion()
        assert "tool_calls.function.arguments.delta" in kinds
    else:
        answer = await client.chat.completions.create(**settings)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert not message.content
    assert [call.function.name for call in message.tool_calls] == ["get_weather"]
    assert message.tool_calls[0].id.startswith("call_")
    check_arguments(WEATHER, message.tool_calls[0].function.arguments)


async def test_a_streamed_call_begins_with_its_name(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        **SETTINGS,
        messages=ASK,
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        stream=True,
    )
    pieces = [
        call async for chunk in stream for choice in chunk.choices for call in choice.delta.tool_calls or []
    ]
    assert [piece.function.name for piece in pieces if piece.function] == ["get_weather"] + [None] * (
        len(pieces) - 1
    )
    assert pieces[0].id
    assert not any(piece.id for piece in pieces[1:])
    check_arguments(WEATHER, "".join(piece.function.arguments or "" for piece in pieces if piece.function))
    assert len(pieces) > 3


async def test_a_named_function_is_called_once(client: openai.AsyncOpenAI) -> None:
    for name, tool in (("get_time", TIME), ("now", None)):
        answer = await client.chat.completions.create(
            **SETTINGS,
            messages=ASK,
            tools=[WEATHER, TIME, NOW],
            tool_choice={"type": "function", "function": {"name": name}},
        )
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == name
        assert answer.choices[0].finish_reason == "tool_calls"
        if tool is None:
            assert json.loads(call.function.arguments) == {}
        else:
            check_arguments(tool, call.function.arguments)


async def test_auto_may_answer_in_text_and_none_must(client: openai.AsyncOpenAI) -> None:
    for choice in ("auto", "none"):
        answer = await client.chat.completions.create(
            **{**SETTINGS, "max_tokens": 10}, messages=ASK, tools=[WEATHER], tool_choice=choice
        )
        assert answer.choices[0].message.content
        assert not answer.choices[0].message.tool_calls


async def test_calls_and_their_results_are_understood_in_the_history(client: openai.AsyncOpenAI) -> None:
    call = {"name": "get_weather", "arguments": '{"city": "Rome", "unit": "celsius"}'}
    history: list[Any] = [
        *ASK,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "31 degrees"},
    ]
    sizes = []
    for messages in (history[:1], history):
        answer = await client.chat.completions.create(**SETTINGS, messages=messages, tools=[WEATHER])
        assert answer.usage is not None
        sizes.append(answer.usage.prompt_tokens)
    assert sizes[1] > sizes[0] + 40, "the call and its result stand in the prompt"


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"properties": {"a": {"uniqueItems": True}}}},
                }
            },
            "response_format",
            "'properties.a'",
        ),
        (
            {
                "tools": [
                    WEATHER,
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"not": {"type": "object"}}},
                    },
                ]
            },
            "tools[1].function.parameters",
            '"not"',
        ),
        ({"response_format": {"type": "grammar"}}, "response_format.type", "grammar"),
    ],
)
async def test_what_cannot_be_enforced_is_a_400(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**SETTINGS, messages=ASK, **fields)
    assert caught.value.param == param
    assert words in caught.value.message
