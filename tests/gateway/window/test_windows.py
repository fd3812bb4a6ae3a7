"""What is known of windows, from whom, and for whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.answer import Answer
from gateway.config.schema import Model
from gateway.errors import UpstreamUnreachable
from gateway.exchange import Call, Exchange, Route
from gateway.window.windows import LEAST_LEARNED, Windows
from gateway.wire.request import Endpoint, read_request
from gateway.wire.usage import Usage
from tests.gateway.support.windowed import vllm_refusal

TEXT = "The tower of the old town is old. " * 100
"""About 850 tokens of 4 bytes."""


def route(context: int | None = None, upstream: str = "up") -> Route:
    return Route("m", "m", Model(upstream, context=context), "real-m")


def request(text: str = TEXT, tenant: str = "t", **more: Any) -> Exchange:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()

    async def receive(limit: int) -> bytes:
        return body

    ex = Exchange(Endpoint.CHAT, {}, receive, tenant=tenant, body=body, route=route())
    ex.view = read_request(body, Endpoint.CHAT)
    return ex


class Counter:
    """An engine that counts a token for every five bytes."""

    def __init__(self, window: int | None = 1000) -> None:
        self.length = window
        self.asked = 0
        self.counted: list[bytes] = []
        self.broken = False

    async def window(self) -> int | None:
        self.asked += 1
        if self.broken:
            raise UpstreamUnreachable("gone")
        return self.length

    async def count_tokens(self, chat: bytes, tenant: str) -> int | None:
        if self.broken:
            raise UpstreamUnreachable("gone")
        self.counted.append(chat)
        return len(chat) // 5


async def test_a_short_prompt_needs_no_knowledge() -> None:
    counter = Counter()
    windows = Windows({"up": counter})
    assert await windows.measure(request("Hi"), route()) is None
    assert counter.asked == 0 and not counter.counted


async def test_an_engine_is_asked_once_and_counts_only_near_its_limit() -> None:
    counter = Counter(window=4000)
    windows = Windows({"up": counter})
    for _ in range(3):
        assert await windows.measure(request(), route()) is None
    assert counter.asked == 1 and not counter.counted and windows.of(route()) == 4000
    assert await windows.measure(request(TEXT * 3), route()) is None
    assert [list(json.loads(chat)) for chat in counter.counted] == [["messages"]]
    too_long = await windows.measure(request(TEXT * 7, max_tokens=100, tools=[]), route())
    assert too_long is not None and too_long.exact and too_long.limit == 3900 and too_long.reserve == 100
    assert too_long.tokens == len(counter.counted[-1]) // 5 and b'"tools":[]' in counter.counted[-1]


async def test_of_two_windows_the_lower_one_counts() -> None:
    windows = Windows({"up": Counter(window=4000)})
    await windows.measure(request(), route())
    assert windows.of(route(context=1000)) == 1000 and windows.of(route(context=8000)) == 4000


async def test_an_engine_that_does_not_answer_stops_nothing() -> None:
    counter = Counter()
    counter.broken = True
    windows = Windows({"up": counter})
    assert await windows.measure(request(), route()) is None
    # It is asked again when it is back.
    counter.broken = False
    assert await windows.measure(request(TEXT * 2), route()) is not None


async def test_others_prompts_are_estimated_with_a_margin() -> None:
    windows = Windows({})
    assert await windows.measure(request(), route()) is None
    too_long = await windows.measure(request(), route(context=1100))
    assert too_long is not None and not too_long.exact
    assert too_long.tokens == pytest.approx(len(TEXT) / 3, rel=0.03) and too_long.reserve == 1100 // 8
    assert too_long.count("x" * 300) in (100, 101)


async def test_what_upstreams_count_makes_estimates_better_for_who_asked() -> None:
    windows = Windows({})
    for _ in range(4):
        ex = request()
        windows.watch(ex)
        call = Call("up", "m", route().target, status=200)
        call.outcome.usage = Usage(850, 10)
        ex.calls.append(call)
        ex.end()
    assert await windows.measure(request(), route(context=1100)) is None
    assert await windows.measure(request(tenant="other"), route(context=1100)) is not None
    assert windows.fits(route(context=1100), request().body, "t")
    assert not windows.fits(route(context=1100), request().body, "other")


def test_short_prompts_teach_nothing() -> None:
    ex = request("Hi")
    Windows({}).watch(ex)
    assert len(ex.body) < LEAST_LEARNED and not ex._endings


def test_fits_looks_at_what_the_answer_needs() -> None:
    windows = Windows({})
    body = request(max_tokens=50).body
    assert windows.fits(route(), body) and windows.fits(route(context=1300), body)
    assert not windows.fits(route(context=1300), request(max_tokens=1000).body)
    assert windows.fits(route(context=100), b"[not a request]" * 100)


async def test_an_upstreams_word_counts_for_an_hour_and_for_that_tenant() -> None:
    now = 0.0
    windows = Windows({}, clock=lambda: now)
    too_long = await windows.learn(request(), Answer(400, vllm_refusal(600, 853)))
    assert too_long is not None and too_long.window == 600 and too_long.tokens == 853
    assert windows.of(route(), "t") == 600 and windows.of(route(), "other") is None
    now = 3601.0
    assert windows.of(route(), "t") is None


async def test_a_refusal_without_numbers_bounds_the_window() -> None:
    windows = Windows({})
    refusal = Answer(400, b'{"error": {"message": "Too long.", "code": "context_length_exceeded"}}')
    too_long = await windows.learn(request(), refusal)
    assert too_long is not None and too_long.tokens > too_long.limit
    assert 800 < too_long.window < len(TEXT) / 3


@pytest.mark.parametrize(
    "answer", [Answer(200, b"{}"), Answer(400, b'{"error": {"message": "No."}}'), Answer(500, b"")]
)
async def test_other_answers_teach_nothing(answer: Answer) -> None:
    windows = Windows({})
    assert await windows.learn(request(), answer) is None and windows.of(route(), "t") is None
