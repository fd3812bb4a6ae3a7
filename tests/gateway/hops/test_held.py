"""A stream that is held back: what bounds it, and what ends it early."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from tests.gateway.support.two_models import BY_QUERY, RIGHT, SLIPPED, STREAMED, Start, Two, ask, route_of
from tests.gateway.support.upstream import (
    DONE,
    Reply,
    begin_stream,
    chunk,
    completion,
    json_reply,
    stream_reply,
)

SECOND = [chunk({"content": "56, of course"}), chunk({}, "stop")]


@pytest.fixture
def two(two: Two) -> Two:
    two.large.reply = stream_reply(*SECOND)
    return two


def never_ending(*events: bytes) -> Reply:
    """A stream that stalls behind these events."""

    async def reply(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        for event in events:
            await response.write(event)
        await asyncio.Event().wait()
        raise AssertionError

    return reply


async def streamed(start: Start, route: str = "", **more: Any) -> tuple[bytes, str]:
    async with start(route=route) as gateway, gateway.post(body=ask(stream=True, **more)) as response:
        return await response.read(), response.headers["x-forebay-route-reason"]


async def test_a_stream_that_takes_too_long_is_given_up(start: Start, two: Two) -> None:
    two.small.reply = never_ending(STREAMED[0], STREAMED[1])
    async with start(route=", hold_s: 0.05") as gateway, gateway.post(body=ask(stream=True)) as response:
        assert await response.read() == b"".join(SECOND) + DONE
        reason = response.headers["x-forebay-route-reason"]
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert reason == "the small model's answer was not kept: it took longer than 0.05 s"
    assert [call["error"] for call in record["calls"]] == ["given_up", None], "the client has not left"
    await two.small.left.wait()


WORDS = " ".join(f"{number:x}" for number in range(10_000))


@pytest.mark.parametrize(
    ("events", "more", "why"),
    [
        ([chunk({"content": "I am sorry, but I cannot "}), chunk({"content": "help."})], {}, "refused"),
        ([chunk({"content": "again and again and again "})] * 200, {}, "looping"),
        ([chunk({"content": "Sure! Here"})], {"response_format": {"type": "json_object"}}, "form"),
        ([chunk({"content": WORDS})] * 24, {}, "1 MB"),
    ],
)
async def test_nobody_waits_for_the_end_of_an_answer_that_has_gone_wrong(
    start: Start, two: Two, events: list[bytes], more: dict[str, Any], why: str
) -> None:
    two.small.reply = never_ending(*events)
    received, reason = await streamed(start, **more)
    assert received == b"".join(SECOND) + DONE and why in reason
    await two.small.left.wait()


async def test_the_reason_is_in_header_record_and_span(start: Start, two: Two) -> None:
    two.small.reply = stream_reply(*SLIPPED)
    async with start(traced=True) as gateway:
        async with gateway.post(body=ask(stream=True)) as response:
            await response.read()
            said = response.headers["x-forebay-route-reason"]
            record = await gateway.settled(response.headers["x-forebay-request-id"])
        (span,) = [span for span in gateway.spans if span.name == "route"]
    assert "right with probability 0.20" in said
    assert record["route_reason"] == said == span.attributes["forebay.route.reason"]


async def test_a_tier_that_the_request_names_has_that_for_a_reason(start: Start, two: Two) -> None:
    two.small.reply = stream_reply(*STREAMED)
    async with start() as gateway, gateway.post(body=ask(stream=True), x_forebay_route="small") as response:
        assert response.headers["x-forebay-route-reason"] == "the request names it"
        assert await response.read() == b"".join(STREAMED) + DONE


async def test_a_route_may_stream_at_once_and_judge_nothing(start: Start, two: Two) -> None:
    received, reason = await streamed(start, ", streams: route-only")
    assert received == b"".join(SECOND) + DONE and "none can be taken back" in reason
    assert two.asked() == (0, 1)


CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}


def calling(*arguments: str) -> list[bytes]:
    """A stream that calls a tool, its arguments in pieces."""
    pieces = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in arguments]
    return [chunk({"role": "assistant", "tool_calls": [CALL]}), *pieces, chunk({}, "tool_calls")]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]


@pytest.mark.parametrize("streams", ["hold", "speculative"])
@pytest.mark.parametrize(
    ("arguments", "kept"), [(('{"ci', 'ty": "Rome"}'), True), (('{"town"', ': "Rome"}'), False)]
)
async def test_a_streamed_call_of_a_tool_is_held_and_checked(
    start: Start, two: Two, streams: str, arguments: tuple[str, str], kept: bool
) -> None:
    two.small.reply = stream_reply(*calling(*arguments))
    received, reason = await streamed(start, f", streams: {streams}", tools=TOOLS)
    assert received == b"".join(calling(*arguments) if kept else SECOND) + DONE
    assert ("arguments that do not fit its schema" in reason) is not kept


async def test_even_where_the_query_decides(start: Start, two: Two) -> None:

    two.small.reply = stream_reply(*calling("{}"))
    async with start(BY_QUERY) as gateway:
        async with gateway.post(body=ask("Name a river.", stream=True, tools=TOOLS)) as response:
            assert response.headers["x-forebay-route"] == "small>large"
        body = ask("Name a river.", stream=True, tools=TOOLS)
        async with gateway.post(body=body, x_forebay_stream="route-only") as response:
            assert await response.read() == b"".join(calling("{}")) + DONE


def completed(*calls: tuple[str, str], finish_reason: str = "tool_calls") -> bytes:
    """A whole answer that calls tools."""
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for at, (name, arguments) in enumerate(calls)
        ],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    return json.dumps({"id": "a", "object": "chat.completion", "choices": [choice]}).encode()


ROME = ("weather", '{"city": "Rome"}')


@pytest.mark.parametrize(
    ("answer", "more", "kept"),
    [
        (completed(ROME), {}, True),
        (completed(ROME, ROME), {}, True),
        (completed(ROME, ROME), {"parallel_tool_calls": False}, False),
        (completed(ROME), {"tool_choice": "none"}, False),
        (completed(ROME, finish_reason="length"), {}, False),
        (completed(("wether", '{"city": "Rome"}')), {}, False),
        (completed(("weather", '{"city": ')), {}, False),
        (completed(("weather", "[1]")), {}, False),
        (completed(("weather", '{"city": 1}')), {}, False),
    ],
)
async def test_a_call_of_a_tool_is_checked(
    start: Start, two: Two, answer: bytes, more: dict[str, Any], kept: bool
) -> None:

    two.small.reply = json_reply(answer)
    async with start() as gateway, gateway.post(body=ask(tools=TOOLS, **more)) as response:
        assert response.headers["x-forebay-route"] == ("small" if kept else "small>large")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_words_do_where_no_call_must_come(start: Start, two: Two, choice: Any) -> None:

    two.small.reply = json_reply(completion(RIGHT))
    two.large.reply = json_reply(completed(ROME))
    async with start() as gateway:
        assert await route_of(gateway, ask(tools=TOOLS)) == "small"
        assert await route_of(gateway, ask(tools=TOOLS, tool_choice=choice)) == "small>large"


PICTURE = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]


@pytest.mark.parametrize(
    ("cannot", "body", "why"),
    [
        ("tools", ask(tools=TOOLS), "small takes no tools"),
        ("vision", ask(PICTURE), "small takes no pictures"),
        ("json", ask(response_format={"type": "json_object"}), "small has no JSON formats"),
    ],
)
async def test_what_a_model_cannot_take_begins_with_the_next(
    start: Start, two: Two, cannot: str, body: dict[str, Any], why: str
) -> None:

    two.large.reply = json_reply(completion("{}"))
    lacks = f", capabilities: {{{cannot}: false}}"
    async with start(small=lacks) as gateway, gateway.post(body=body) as response:
        assert response.headers["x-forebay-route"] == "large"
        assert response.headers["x-forebay-route-reason"] == why
    assert two.asked() == (0, 1)


async def test_a_picture_goes_to_a_small_model_that_sees(start: Start, two: Two) -> None:

    two.small.reply = json_reply(completion("A boat."))
    async with start() as gateway:
        assert await route_of(gateway, ask(PICTURE)) == "small"


async def test_if_no_model_can_take_a_request_the_last_one_says_so(start: Start, two: Two) -> None:

    two.large.reply = json_reply(b'{"error": {"message": "no tools here"}}', 400)
    lacks = ", capabilities: {tools: false}"
    async with start(small=lacks, large=lacks) as gateway, gateway.post(body=ask(tools=TOOLS)) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"] == "no tools here"
    assert two.asked() == (0, 1)
