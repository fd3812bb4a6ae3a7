"""A stream that is shown while it is judged, and taken back if it will not do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI

from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import RunningGateway
from tests.gateway.support.two_models import (
    LARGE_USD,
    SLIPPED,
    SMALL_USD,
    STREAMED,
    TELLS,
    Start,
    Two,
    ask,
    sure,
)
from tests.gateway.support.upstream import (
    DONE,
    Reply,
    begin_stream,
    chunk,
    json_reply,
    stream_reply,
    usage_chunk,
)

SPECULATIVE = ", streams: speculative"
SECOND = [
    chunk({"role": "assistant", "content": ""}, id="chatcmpl-2"),
    chunk({"content": "56, of course"}, id="chatcmpl-2"),
    chunk({}, "stop", id="chatcmpl-2"),
]


@pytest.fixture
def two(two: Two) -> Two:
    two.small.reply, two.large.reply = stream_reply(*STREAMED), stream_reply(*SECOND)
    return two


def chunks(received: bytes) -> list[dict[str, Any]]:
    return [json.loads(block[6:]) for block in received.split(b"\n\n") if block.startswith(b"data: {")]


def coherent(received: bytes) -> list[str]:
    """What a client has that follows the contract: each answer that it was shown, the last one stands."""
    texts = [""]
    finishes = 0
    for one in chunks(received):
        if one.get("forebay", {}).get("event") == "reset":
            texts.append("")
            assert finishes == 0, "what has finished is not taken back"
            continue
        for choice in one["choices"]:
            texts[-1] += choice["delta"].get("content") or ""
            finishes += choice["finish_reason"] is not None
    assert finishes == 1 and received.endswith(DONE) and received.count(DONE) == 1
    return texts


async def test_an_answer_that_stands_is_the_small_models_own_stream(start: Start, two: Two) -> None:
    async with start(route=SPECULATIVE) as gateway, gateway.post(body=ask(stream=True)) as response:
        assert response.headers["x-forebay-route"] == "small"
        assert "shown while it is judged" in response.headers["x-forebay-route-reason"]
        assert await response.read() == b"".join(STREAMED) + DONE
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert record["cost_usd"] == pytest.approx(SMALL_USD)
    assert "right with probability 0.80" in record["route_reason"]


async def test_it_is_shown_before_it_is_complete(start: Start, two: Two) -> None:
    seen = asyncio.Event()

    async def slow(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(STREAMED[0] + STREAMED[1])
        await seen.wait()
        await response.write(b"".join(STREAMED[2:]) + DONE)
        return response

    two.small.reply = slow
    async with start(route=SPECULATIVE) as gateway, gateway.post(body=ask(stream=True)) as response:
        first = await response.content.readexactly(len(STREAMED[0] + STREAMED[1]))
        seen.set()
        assert first + await response.read() == b"".join(STREAMED) + DONE


async def test_one_that_does_not_stand_is_taken_back(start: Start, two: Two) -> None:
    two.small.reply = stream_reply(*SLIPPED)
    async with start(route=SPECULATIVE) as gateway, gateway.post(body=ask(stream=True)) as response:
        received = await response.read()
        record = await gateway.settled(response.headers["x-forebay-request-id"])

    shown, reset, second = b"".join(SLIPPED[:-1]), b": forebay.reset\n\ndata: ", b"".join(SECOND) + DONE
    assert received.startswith(shown + reset) and received.endswith(second)
    (taken_back,) = (one for one in chunks(received) if "forebay" in one)
    assert taken_back["id"] == "chatcmpl-1" and taken_back["object"] == "chat.completion.chunk"
    assert taken_back["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]
    assert "probability 0.20" in taken_back["forebay"]["reason"]
    assert coherent(received) == ["7 * 8 = 54", "56, of course"]
    assert record["route"] == "small>large" and record["cost_usd"] == pytest.approx(SMALL_USD + LARGE_USD)


async def test_its_usage_is_that_of_all_that_was_shown(start: Start, two: Two) -> None:
    two.small.reply = stream_reply(*SLIPPED)
    body = ask(stream=True, stream_options={"include_usage": True})
    async with start(route=SPECULATIVE) as gateway, gateway.post(body=body) as response:
        counted = [one["usage"] for one in chunks(await response.read()) if one.get("usage")]
    assert counted == [{"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}]


async def test_the_usage_of_one_that_stands_is_its_own(start: Start, two: Two) -> None:
    body = ask(stream=True, stream_options={"include_usage": True})
    async with start(route=SPECULATIVE) as gateway, gateway.post(body=body) as response:
        assert (await response.read()).endswith(usage_chunk() + DONE)


async def test_a_caller_may_ask_for_it_or_against_it(start: Start, two: Two) -> None:
    two.small.reply = stream_reply(*SLIPPED)
    body = ask(stream=True)
    async with start() as gateway:
        async with gateway.post(body=body, x_forebay_stream="speculative") as response:
            assert b"forebay.reset" in await response.read()
        async with gateway.post(body=body, x_forebay_stream="hold") as response:
            assert await response.read() == b"".join(SECOND) + DONE
        async with gateway.post(body=body, x_forebay_stream="route-only") as response:
            assert response.headers["x-forebay-route"] == "large"
            assert "none can be taken back" in response.headers["x-forebay-route-reason"]
        async with gateway.post(body=body, x_forebay_stream="soon") as response:
            assert response.status == 400
            assert "one of route-only, hold, speculative" in (await response.json())["error"]["message"]


async def test_a_wanted_stream_that_is_taken_back_is_no_other_requests_stream(start: Start, two: Two) -> None:
    waiting = asyncio.Event()
    arrived = asyncio.Semaphore(0)

    async def late(request: web.Request, body: bytes) -> web.StreamResponse:
        arrived.release()
        await waiting.wait()
        return await stream_reply(*SLIPPED)(request, body)

    two.small.reply = late
    async with start(cached=True, environ={"FOREBAY__CACHE__SEMANTIC": "null"}) as gateway:

        async def read(how: str) -> bytes:
            async with gateway.post(body=ask(stream=True), x_forebay_stream=how) as response:
                return await response.read()

        both = asyncio.gather(read("speculative"), read("hold"))
        await arrived.acquire()
        await arrived.acquire()
        waiting.set()
        taken_back, held = await both
    assert coherent(taken_back) == ["7 * 8 = 54", "56, of course"]
    assert coherent(held) == ["56, of course"]


@pytest.mark.parametrize(("events", "text"), [(STREAMED, "7 * 8 = 56"), (SLIPPED, "56, of course")])
async def test_only_the_answer_that_stands_is_stored(
    start: Start, two: Two, events: list[bytes], text: str
) -> None:
    two.small.reply = stream_reply(*events)
    async with start(cached=True, environ={"FOREBAY__CACHE__SEMANTIC": "null"}, route=SPECULATIVE) as gateway:
        async with gateway.post(body=ask(stream=True)) as response:
            await response.read()
        await until_kept(gateway)
        async with gateway.post(body=ask()) as response:
            assert response.headers["x-forebay-cache"] == "hit-exact"
            whole = await response.json()
    assert whole["choices"][0]["message"]["content"] == text
    assert whole["usage"] == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


async def cut(request: web.Request, body: bytes) -> web.StreamResponse:
    response = await begin_stream(request)
    await response.write(STREAMED[0] + STREAMED[1])
    return response


LOOP = [chunk({"content": "over and over and over "})] * 400


@pytest.mark.parametrize(
    "reply", [cut, stream_reply(*LOOP), stream_reply(chunk({"content": "I'm sorry, but "}), STREAMED[1])]
)
async def test_what_breaks_off_or_has_gone_wrong_is_taken_back(start: Start, two: Two, reply: Reply) -> None:
    two.small.reply = reply
    async with start(route=SPECULATIVE) as gateway, gateway.post(body=ask(stream=True)) as response:
        assert coherent(await response.read())[1:] == ["56, of course"]


@pytest.mark.parametrize("status", [400, 503])
async def test_what_never_began_is_not_taken_back(start: Start, two: Two, status: int) -> None:
    two.small.reply = json_reply(b'{"error": {"message": "oh"}}', status)
    async with start(route=SPECULATIVE) as gateway, gateway.post(body=ask(stream=True)) as response:
        assert await response.read() == b"".join(SECOND) + DONE
        assert response.headers["x-forebay-route"] == "small>large"


async def test_if_the_other_model_fails_so_does_the_stream(start: Start, two: Two) -> None:
    two.small.reply = stream_reply(*SLIPPED)
    two.large.reply = json_reply(b'{"error": {"message": "busy",\n "type": "rate_limit"}}', 429)
    async with start(route=SPECULATIVE) as gateway:
        async with gateway.post(body=ask(stream=True)) as response:
            received = await response.read()
        client = AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0)
        with pytest.raises(Exception, match="busy"):
            async for _ in await client.chat.completions.create(**ask(stream=True)):
                pass
        await client.close()
    assert received == b"".join(SLIPPED[:-1]) + b'data: {"error":{"message":"busy","type":"rate_limit"}}\n\n'


async def test_probabilities_that_nobody_asked_for_are_not_shown(start: Start, two: Two) -> None:
    choice = {"index": 0, "delta": {"content": "7 * 8 = 56"}, "finish_reason": None}
    two.small.reply = stream_reply(
        STREAMED[0], chunk({}, choices=[choice | {"logprobs": sure(-0.1)}]), STREAMED[-1]
    )
    shows = start(route=SPECULATIVE, small=TELLS)
    async with shows as gateway, gateway.post(body=ask(stream=True)) as response:
        received = await response.read()
    assert json.loads(two.small.received[0].body)["logprobs"] is True
    assert coherent(received) == ["7 * 8 = 56"] and b'"top_logprobs"' not in received


@pytest.mark.parametrize("stage", ["small", "large"])
async def test_a_client_that_leaves_cancels_the_call_that_runs(start: Start, two: Two, stage: str) -> None:
    async def stall(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        if stage == "small":
            await response.write(STREAMED[0])
        await asyncio.Event().wait()
        raise AssertionError

    two.small.reply = stall if stage == "small" else stream_reply(*SLIPPED)
    two.large.reply = stall
    at = two.small if stage == "small" else two.large
    async with start(route=SPECULATIVE) as gateway:
        async with aiohttp.ClientSession() as client:
            response = await client.post(
                f"{gateway.url}/v1/chat/completions",
                data=orjson.dumps(ask(stream=True)),
                headers={"content-type": "application/json"},
            )
            await at.arrived.wait()
            response.close()
        await at.left.wait()
    assert two.asked() == ((1, 0) if stage == "small" else (1, 1))


async def test_what_a_client_sees_that_knows_nothing_of_it(start: Start, two: Two) -> None:
    """OpenAI's own client: no error, and the second answer behind the first."""
    two.small.reply = stream_reply(*SLIPPED)
    async with start(route=SPECULATIVE) as gateway:
        client = AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0)
        text, ids, reset = "", [], None
        async for one in await client.chat.completions.create(**ask(stream=True)):
            text += one.choices[0].delta.content or ""
            ids.append(one.id)
            reset = reset or (one.model_extra or {}).get("forebay")
        async with client.chat.completions.stream(model="auto", messages=ask()["messages"]) as events:
            async for _ in events:
                pass
            final = await events.get_final_completion()
        await client.close()
    assert text == final.choices[0].message.content == "7 * 8 = 5456, of course"
    assert list(dict.fromkeys(ids)) == ["chatcmpl-1", "chatcmpl-2"]
    assert reset is not None and reset["event"] == "reset"


PIECES = st.lists(st.sampled_from(["7 ", "* 8 ", "= 56", "= 54", "\n", "boxes "]), max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_every_client_has_exactly_one_answer_in_the_end(
    held: RunningGateway, two: Two, data: st.DataObject
) -> None:
    pieces, mode = data.draw(PIECES), data.draw(st.sampled_from(["hold", "speculative"]))
    ending = data.draw(st.sampled_from(["stop", "length", None]))
    events = [STREAMED[0], *(chunk({"content": piece}) for piece in pieces)]
    events += [chunk({}, ending)] if ending else []

    async def reply(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        for event in events:
            await response.write(event)
        if ending:
            await response.write(DONE)
        return response

    two.small.reply = reply
    async with held.post(body=ask(stream=True), x_forebay_stream=mode) as response:
        assert response.status == 200
        texts = coherent(await response.read())
    assert texts[-1] in ("".join(pieces), "56, of course")
    assert len(texts) == 1 or (mode == "speculative" and texts[-1] == "56, of course")
    if ending != "stop":
        assert texts[-1] == "56, of course", "an answer that was cut never stands"


@pytest.fixture
async def held(start: Start, two: Two) -> Any:
    async with start() as gateway:
        yield gateway
