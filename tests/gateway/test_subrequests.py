"""Requests that a request makes on its own account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from gateway.answer import Answer, Events, EventStream
from gateway.config.schema import Model, Price
from gateway.errors import GatewayError, UpstreamGarbage, UpstreamTimeout, UpstreamUnreachable
from gateway.exchange import Call, Exchange
from gateway.settlement import cost_of
from gateway.subrequests import FRESH, Subrequests
from gateway.wire.request import Endpoint
from gateway.wire.usage import Outcome, Usage
from telemetry.context import parse
from tests.gateway.support.upstream import completion

BODY = {"model": "m", "messages": [{"role": "user", "content": "Why?"}]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PRICED = Model("up", price=Price(1.0, 2.0))


async def nothing(limit: int) -> bytes:
    return b""


def request(**headers: str) -> Exchange:
    return Exchange(Endpoint.CHAT, headers, nothing)


def call(tokens: int) -> Call:
    outcome = Outcome()
    outcome.usage = Usage(tokens, 0)
    return Call("up", "m", PRICED, outcome=outcome)


class Pipeline:
    """Stands where the gateway's pipeline stands."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.asked: list[Exchange] = []
        self.ended: list[Exchange] = []

    async def __call__(self, ex: Exchange) -> Answer:
        self.asked.append(ex)
        ex.at_end(lambda: self.ended.append(ex))
        ex.calls.append(call(100))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def bound(pipeline: Pipeline) -> Subrequests:
    subrequests = Subrequests()
    subrequests.bind(pipeline)
    return subrequests


async def test_it_is_the_tenants_own_and_stands_in_its_trace() -> None:
    pipeline = Pipeline(Answer(200, completion("Because.")))
    outer = request(authorization="Bearer fb-1", cookie="secret")
    outer.caller = parse(PARENT, None)
    said = await bound(pipeline).ask(outer, BODY, cache_control=FRESH)
    (inner,) = pipeline.asked
    assert (said.text, said.finish_reason, said.status) == ("Because.", "stop", 200)
    assert orjson.loads(await inner.receive(1000)) == BODY
    assert dict(inner.headers) == {
        "content-type": "application/json",
        "authorization": "Bearer fb-1",
        "cache-control": FRESH,
        "traceparent": PARENT,
        "x-forebay-compress": "off",
    }
    assert inner.origin is outer and outer.inner == [inner] and pipeline.ended == [inner]


async def test_what_it_cost_is_part_of_what_the_request_cost() -> None:
    pipeline = Pipeline(Answer(200, completion("Because.")))
    outer = request()
    outer.calls.append(call(1000))
    await bound(pipeline).ask(outer, BODY)
    assert cost_of(outer) == pytest.approx(1100e-6)
    outer.inner[0].calls[0].outcome = Outcome()
    assert cost_of(outer) is None


async def test_an_error_of_the_upstream_is_an_answer() -> None:
    said = await bound(Pipeline(Answer(429, b'{"error": {}}'))).ask(request(), BODY)
    assert (said.status, said.text, said.body) == (429, "", b'{"error": {}}')


async def _events() -> AsyncIterator[Events]:
    yield []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>"),
        Answer(200, b'{"choices": []}'),
        Answer(200, EventStream(_events(), lambda: None)),
    ],
)
async def test_what_is_no_completion_is_garbage(answer: Answer) -> None:
    pipeline = Pipeline(answer)
    with pytest.raises(UpstreamGarbage):
        await bound(pipeline).ask(request(), BODY)
    assert isinstance(pipeline.ended[0].error, UpstreamGarbage)


async def test_a_failure_is_the_failure_of_both() -> None:
    pipeline = Pipeline(UpstreamUnreachable("gone"))
    with pytest.raises(UpstreamUnreachable):
        await bound(pipeline).ask(request(), BODY)
    assert isinstance(pipeline.ended[0].error, UpstreamUnreachable)


async def test_it_ends_with_whoever_waits_for_it() -> None:
    waiting = asyncio.Event()
    ended: list[GatewayError | BaseException | None] = []

    async def stall(ex: Exchange) -> Answer:
        ex.at_end(lambda: ended.append(ex.error))
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    subrequests = Subrequests()
    subrequests.bind(stall)
    outer = request()
    task = asyncio.create_task(subrequests.ask(outer, BODY))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(ended[0], type(outer.why_cancelled()))


async def test_nobody_waits_longer_than_he_has_patience() -> None:
    asked: list[Exchange] = []

    async def stall(ex: Exchange) -> Answer:
        asked.append(ex)
        await asyncio.Event().wait()
        raise AssertionError

    subrequests = Subrequests()
    subrequests.bind(stall)
    with pytest.raises(UpstreamTimeout, match=r"within 0\.01 s") as late:
        await subrequests.ask(request(), BODY, patience_s=0.01)
    assert late.value.cause == "given_up"
    (inner,) = asked
    assert isinstance(inner.error, UpstreamTimeout), "the client has not left"
