"""The cascade among three tiers, whatever the policy: each is asked once, and one answer stands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.answer import Answer, Events, EventStream
from gateway.config.schema import Model, RouteConfig
from gateway.exchange import Call, Exchange, Route, Tiers
from gateway.hops.cascade import Cascade
from gateway.pipeline import Next, OnFailure, Pipeline, Step
from gateway.subrequests import Subrequests
from gateway.wire.request import Endpoint, read_request
from gateway.wire.sse import data_event
from gateway.wire.usage import UsageTap
from router.after.signs import AnswerSigns
from router.policy.base import Choice, Facts
from telemetry.spans import NullTracer
from tests.gateway.support.upstream import chunk, completion

LABELS = ("small", "middle", "large")


class ByTable:
    """Says what a table says: where to begin, and what follows each answer."""

    def __init__(self, first: int, after: Mapping[int, int]) -> None:
        self._first, self._after = first, after

    def first(self, facts: Facts) -> Choice:
        return Choice(self._first, "first", judged=self._first < 2)

    def after(self, facts: Facts, heard: Mapping[int, AnswerSigns]) -> Choice:
        latest = list(heard)[-1]
        return Choice(self._after[latest], f"after {LABELS[latest]}", judged=True)


async def events_of(label: str) -> AsyncIterator[Events]:
    for data in (chunk({"content": label}, id=label), chunk({}, "stop", id=label), b"data: [DONE]\n\n"):
        yield [data_event(data[6:-2])]


async def upstream(ex: Exchange) -> Answer:
    """Every tier says its own name."""
    assert ex.route is not None and ex.view is not None
    call = Call("up", ex.route.model, ex.route.target, reason=ex.reason)
    ex.calls.append(call)
    if not ex.view.stream:
        return Answer(200, completion(ex.route.label), {})
    stream = EventStream(events_of(ex.route.label), lambda: None)
    for observer in ex.observers:
        stream.tap(observer)
    stream.tap(UsageTap(call.outcome, remove=True))
    return ex.keep(Answer(200, stream, {}))


class Upstream:
    """The same as a hop."""

    name = "upstream"

    async def run(self, ex: Exchange, next: Next) -> Answer:
        return await upstream(ex)


class Observer:
    """Sees what is stored."""

    def __init__(self) -> None:
        self.text = ""
        self.endings = 0

    def feed(self, events: Events) -> Events:
        for event in events:
            if event.data is not None and event.data.startswith(b"{"):
                for choice in json.loads(event.data)["choices"]:
                    self.text += choice["delta"].get("content", "")
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        self.endings += 1


async def run(policy: ByTable, *, mode: Any = None) -> tuple[list[str], list[str], Observer, Exchange]:
    """Return what the client had of each answer that it was shown, who was asked, and what observers saw."""
    body = json.dumps(
        {"model": "auto", "stream": mode is not None, "messages": [{"role": "user", "content": "Who?"}]}
    ).encode()

    async def receive(limit: int) -> bytes:
        return body

    ex = Exchange(Endpoint.CHAT, {}, receive, tenant="t", body=body, streams=mode)
    ex.view = read_request(body, Endpoint.CHAT)
    routes = tuple(Route(label, label, Model("up"), label) for label in LABELS)
    ex.route = Route("auto", "large", Model("up"), "large", tiers=Tiers(routes, policy))
    observer = Observer()
    ex.observers.append(observer)
    cascade = Cascade(
        {"auto": RouteConfig(LABELS)}, NullTracer(), upstream, Subrequests(), fits=lambda *_: True
    )
    answer = await Pipeline([Step(cascade, OnFailure.OPEN), Step(Upstream())]).run(ex)
    if isinstance(answer.body, bytes):
        texts = [json.loads(answer.body)["choices"][0]["message"]["content"]]
    else:
        texts, dones = [""], 0
        async for events in answer.body:
            for event in events:
                dones += event.data == b"[DONE]"
                if event.data is None or not event.data.startswith(b"{"):
                    continue
                said = json.loads(event.data)
                if "forebay" in said:
                    texts.append("")
                texts[-1] += said["choices"][0]["delta"].get("content", "")
        assert dones == 1
    ex.end()
    return texts, [call.model for call in ex.calls], observer, ex


TABLES = st.builds(
    ByTable,
    st.integers(0, 2),
    st.fixed_dictionaries({0: st.integers(0, 2), 1: st.integers(0, 2)}),
)


def expected(policy: ByTable) -> tuple[list[str], str]:
    """Who is asked, and whose answer stands."""
    asked: list[int] = []
    tier = policy._first
    while tier not in asked:
        asked.append(tier)
        if tier == 2:
            break
        tier = policy._after[tier]
    return [LABELS[at] for at in asked], LABELS[tier]


@settings(max_examples=40, deadline=None)
@given(TABLES, st.sampled_from([None, "hold", "speculative"]))
async def test_each_is_asked_once_and_one_answer_stands(policy: ByTable, mode: Any) -> None:
    asked, stands = expected(policy)
    texts, calls, observer, ex = await run(policy, mode=mode)
    assert calls == asked
    assert texts[-1] == stands
    shown = mode == "speculative" and asked[0] != "large" and (len(asked) > 1)
    assert texts[:-1] == ([asked[0]] if shown else [])
    assert ex.calls[-1].reason, "the last call says why"
    if mode is not None:
        assert (observer.text, observer.endings) == (stands, 1), "only what stands is seen, and once"


async def test_an_answer_may_stand_although_a_larger_tier_was_heard() -> None:
    texts, calls, _, ex = await run(ByTable(0, {0: 1, 1: 0}), mode="hold")
    assert (texts, calls) == (["small"], ["small", "middle"])
    assert ex.calls[-1].reason == "after middle"


@pytest.mark.parametrize("mode", ["hold", "speculative"])
async def test_a_middle_tiers_stream_is_held(mode: str) -> None:
    texts, calls, _, _ = await run(ByTable(0, {0: 1, 1: 2}), mode=mode)
    assert calls == ["small", "middle", "large"]
    assert texts == (["large"] if mode == "hold" else ["small", "large"])


async def test_if_a_tier_fails_the_largest_that_can_take_the_request_is_asked() -> None:
    async def failing(ex: Exchange) -> Answer:
        answer = await upstream(ex)
        assert ex.route is not None
        return replace(answer, status=500) if ex.route.label == "small" else answer

    body = b'{"model": "auto", "messages": [{"role": "user", "content": "Who?"}]}'

    async def receive(limit: int) -> bytes:
        return body

    ex = Exchange(Endpoint.CHAT, {}, receive, tenant="t", body=body)
    ex.view = read_request(body, Endpoint.CHAT)
    routes = tuple(Route(label, label, Model("up"), label) for label in LABELS)
    ex.route = Route("auto", "large", Model("up"), "large", tiers=Tiers(routes, ByTable(0, {1: 1})))
    cascade = Cascade(
        {"auto": RouteConfig(LABELS)},
        NullTracer(),
        failing,
        Subrequests(),
        fits=lambda route, *_: route.label != "large",
    )
    answer = await cascade.run(ex, failing)

    assert [call.model for call in ex.calls] == ["small", "middle"] and answer.status == 200


@pytest.mark.parametrize("mode", [None, "hold", "speculative"])
async def test_an_answer_that_cannot_be_judged_is_not_kept(mode: Any) -> None:
    """The small model's stream has been read by then, and its answer has what we have asked for."""

    class Broken(ByTable):
        def after(self, facts: Facts, heard: Mapping[int, AnswerSigns]) -> Choice:
            raise RuntimeError

    texts, calls, _, ex = await run(Broken(0, {}), mode=mode)
    assert (texts[-1], calls) == ("large", ["small", "large"])
    assert ex.calls[-1].reason == "the small model's answer was not kept: it could not be judged"
