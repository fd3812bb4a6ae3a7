"""Chooses among the models of a route: before any has answered, or by what the smaller ones answer.

All but the last only ever get requests that they can be judged on: chats of text without tools, one choice.
Where only an answer can decide, its stream is held back to the end: what the client has seen cannot be taken
back. If a smaller model fails, the last one is asked, with the client's own words; if that one fails, the
request does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from gateway.answer import Answer
from gateway.compression.mode import OFF
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Tiers
from gateway.hops.held import HeldStream, hold
from gateway.pipeline import Next
from gateway.wire.asked import read_asked, read_small_answer
from gateway.wire.errors import kind_of
from gateway.wire.logprobs import events_without_logprobs, without_logprobs
from gateway.wire.request import Endpoint
from router.after.signs import AnswerSigns, signs_of
from router.before.query import Query
from router.before.query_signs import query_signs
from router.policy.base import Choice, Facts
from telemetry import names
from telemetry.spans import Tracer


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as far as it is judged."""

    facts: Facts
    question: str = ""
    response_format: Any = None
    large: str | None = None
    """Why only the last model can answer."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """An answer that the client has not seen."""

    answer: Answer
    held: HeldStream | None

    def release(self, ex: Exchange) -> Answer:
        """Return it as if it had just come."""
        return self.answer if self.held is None else self.held.release(ex)


class Cascade:
    """Runs what follows once, or once for each model that is asked."""

    name = "route"

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def run(self, ex: Exchange, next: Next) -> Answer:
        if ex.route is None or (tiers := ex.route.tiers) is None:
            return await next(ex)
        span = self._tracer.start(names.ROUTE, parent=ex.span)
        choice = Choice(len(tiers.routes) - 1, "")
        try:
            asked = _asked(ex, tiers)
            if asked.large is not None:
                choice = replace(choice, reason=asked.large)
                return await next(ex)
            choice = tiers.policy.first(asked.facts)
            heard: dict[int, _Heard] = {}
            signs: dict[int, AnswerSigns] = {}
            while choice.tier not in heard:
                if heard or signs:
                    # What was too much for a small model may have been for want of what was left out.
                    ex.compress, ex.compression = OFF, None
                ex.route = replace(tiers.routes[choice.tier], tiers=tiers)
                if ex.route.label == tiers.large.label or not _is_judged(ex, choice):
                    return await next(ex)
                found = await _hear(ex, asked, next)
                if isinstance(found, str):
                    choice = Choice(len(tiers.routes) - 1, found)
                    ex.compress, ex.compression = OFF, None
                    continue
                heard[choice.tier], signs[choice.tier] = found
                choice = tiers.policy.after(asked.facts, signs)
            ex.route = replace(tiers.routes[choice.tier], tiers=tiers)
            return heard[choice.tier].release(ex)
        finally:
            span.set(names.FOREBAY_ROUTE_REASON, choice.reason)
            span.end()


def _asked(ex: Exchange, tiers: Tiers) -> _Asked:
    able = (True,) * len(tiers.routes)
    asked = read_asked(ex.body) if ex.endpoint is Endpoint.CHAT else None
    question = None if asked is None else asked.question()
    if asked is None or question is None:
        return _Asked(Facts(Query(), 0.0, able), large="not a chat of text alone")
    if asked.tools or asked.functions:
        return _Asked(Facts(Query(), 0.0, able), large="the request has tools")
    if (asked.n or 1) > 1:
        return _Asked(Facts(Query(), 0.0, able), large="the request wants several choices")
    facts = Facts(Query(None, query_signs(question)), _draw(ex), able, tenant=ex.tenant)
    return _Asked(facts, question, asked.response_format)


def _is_judged(ex: Exchange, choice: Choice) -> bool:
    # What comes whole costs nothing to judge.
    return choice.judged or ex.view is None or not ex.view.stream


async def _hear(ex: Exchange, asked: _Asked, next: Next) -> tuple[_Heard, AnswerSigns] | str:
    """Return an answer with its signs, or why it is of no use."""
    assert ex.view is not None and ex.route is not None
    ex.logprobs = asks = ex.route.can.logprobs and not ex.view.value(ex.body, "logprobs", bool)
    try:
        found = await hold(ex, next) if ex.view.stream else await next(ex)
    except GatewayError as error:
        return f"the small model failed: {kind_of(error).code or type(error).__name__}"
    finally:
        ex.logprobs = False
    held = found if isinstance(found, HeldStream) else None
    answer = found.answer if isinstance(found, HeldStream) else found
    if answer.status != 200:
        return f"the small model answered with status {answer.status}"
    body = answer.body if held is None else held.whole()
    said = read_small_answer(body, asked.question, asked.response_format) if isinstance(body, bytes) else None
    if said is None:
        return "the small model's answer cannot be read"
    if asks:
        answer, held = _without_logprobs(answer, held)
    return _Heard(answer, held), signs_of(said)


def _without_logprobs(answer: Answer, held: HeldStream | None) -> tuple[Answer, HeldStream | None]:
    if held is not None:
        return answer, replace(held, events=events_without_logprobs(held.events))
    assert isinstance(answer.body, bytes)
    # What was read as a completion has the form of one.
    return replace(answer, body=without_logprobs(answer.body)), None


def _draw(ex: Exchange) -> float:
    """Return a number in [0, 1) that is the same whenever the same tenant asks the same again."""
    digest = hashlib.sha256(ex.tenant.encode() + b"\0" + ex.body).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
