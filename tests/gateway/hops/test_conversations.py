"""Which model answers the next turn of a conversation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.routing.sessions import STAY_TURNS
from router.policy.escalation import Escalation
from tests.gateway.support.running import RunningGateway
from tests.gateway.support.two_models import (
    BY_ANSWER,
    BY_QUERY,
    QUESTION,
    RIGHT,
    SLIPPED,
    STREAMED,
    WRONG,
    Start,
    Two,
    ask,
    route_of,
)
from tests.gateway.support.upstream import completion, json_reply, stream_reply


def said(turn: int, text: str = "Now commit it.", **more: Any) -> dict[str, Any]:
    """The request of a conversation's turn, 0 being the first."""
    history: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
    for at in range(turn):
        last = text if at == turn - 1 else "Go on."
        history += [{"role": "assistant", "content": "So be it."}, {"role": "user", "content": last}]
    return ask(**more) | {"messages": history}


async def test_after_a_hard_turn_a_conversation_stays_with_the_large_model(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))
    async with start() as gateway:
        assert await route_of(gateway, said(0)) == "small>large"
        two.small.reply = json_reply(completion(RIGHT))
        for turn in range(1, STAY_TURNS + 1):
            async with gateway.post(body=said(turn)) as response:
                assert response.headers["x-forebay-route"] == "large"
                assert response.headers["x-forebay-route-reason"].startswith("session: stays with large, as")
        assert await route_of(gateway, said(STAY_TURNS + 1)) == "small", "and then it is asked anew"
        assert await route_of(gateway, said(STAY_TURNS + 2)) == "small"


async def test_so_it_does_in_streams(start: Start, two: Two) -> None:
    two.small.reply, two.large.reply = stream_reply(*SLIPPED), stream_reply(*STREAMED)
    async with start() as gateway:
        for mode in ("hold", "speculative"):
            first = said(0, stream=True) | {"user": mode}
            first["messages"][0]["content"] = f"{QUESTION} {mode}"
            async with gateway.post(body=first, x_forebay_stream=mode) as response:
                await response.read()
            second = said(1, stream=True)
            second["messages"][0]["content"] = f"{QUESTION} {mode}"
            async with gateway.post(body=second, x_forebay_stream=mode) as response:
                assert response.headers["x-forebay-route"] == "large"
    assert two.asked() == (2, 4)


async def test_the_same_question_by_itself_is_no_turn(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))
    async with start() as gateway:
        assert [await route_of(gateway, said(0)) for _ in range(2)] == ["small>large"] * 2


@pytest.mark.parametrize("other", [{"text": "Another question?"}, {"system": "Be brief."}])
async def test_other_conversations_are_decided_by_themselves(
    start: Start, two: Two, other: dict[str, str]
) -> None:
    two.small.reply = json_reply(completion(WRONG))
    async with start() as gateway:
        await route_of(gateway, said(0))
        body = said(1)
        if "text" in other:
            body["messages"][0]["content"] = other["text"]
        if "system" in other:
            body["messages"].insert(0, {"role": "system", "content": other["system"]})
        assert await route_of(gateway, body) == "small>large"


async def test_a_conversation_may_have_a_name(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))

    async def turn(gateway: RunningGateway, name: str) -> str:
        return await route_of(gateway, ask("Commit it."), x_forebay_session=name)

    async with start() as gateway:
        assert await turn(gateway, "a") == "small>large"
        assert await turn(gateway, "a") == "large"
        assert await turn(gateway, "b") == "small>large"


async def test_a_query_that_goes_to_the_large_model_is_a_hard_turn_too(start: Start, two: Two) -> None:
    async with start(BY_QUERY) as gateway:
        first = said(0)
        first["messages"][0]["content"] = second_first = "1 2 3 4 5 6 7 8 9"
        assert await route_of(gateway, first) == "large"
        second = said(1)
        second["messages"][0]["content"] = second_first
        assert await route_of(gateway, second) == "large"
        assert await route_of(gateway, said(1, "Name a river.")) == "small"


async def test_a_coin_falls_once_for_a_conversation(start: Start) -> None:
    coin = replace(BY_ANSWER, decides_by="coin", confidence=None, escalation=Escalation(0.0, 0.5))
    async with start(coin) as gateway:
        for number in range(8):
            routes = []
            for turn in range(3):
                body = said(turn)
                body["messages"][0]["content"] = f"Question {number}?"
                routes.append(await route_of(gateway, body))
            assert len(set(routes)) == 1


@pytest.mark.parametrize(("cache_read", "route"), [("0.01", "large"), ("9.0", "small")])
async def test_a_long_prompt_stays_where_reading_it_again_is_cheap(
    start: Start, cache_read: str, route: str
) -> None:
    environ = {"FOREBAY__MODELS__LARGE__PRICE__CACHE_READ": cache_read}
    async with start(BY_QUERY, environ=environ) as gateway:
        body = said(0)
        body["messages"][0]["content"] = "1 2 3 4 5 6 7 8 9 " * 2_000
        assert await route_of(gateway, body) == "large"
        for _ in range(STAY_TURNS + 1):
            body["messages"] += said(1, "Name a river.")["messages"][1:]
            async with gateway.post(body=body) as response:
                last = response.headers["x-forebay-route"], response.headers["x-forebay-route-reason"]
    assert last[0] == route and ("is in its cache" in last[1]) is (route == "large")


async def test_a_beginning_may_hold_anything_that_json_can(start: Start, two: Two) -> None:
    body = said(0)
    body["messages"][0]["content"] = [{"type": "text", "text": QUESTION, "x": None}]
    text = orjson.dumps(body).replace(b"null", b"1" * 40)
    async with start() as gateway, gateway.post(body=text) as response:
        assert response.headers["x-forebay-route"] == "small"
