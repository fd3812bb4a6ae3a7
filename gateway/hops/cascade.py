"""Chooses between a small and a large model: before either has answered, or by the small one's answer.

The small model only ever gets requests that it can be judged on: chats of text without tools, one choice.
Where only its answer can decide, its stream is held back to the end: what the client has seen cannot be taken
back. If the small model fails, the large one is asked, with the client's own words; if the large one fails,
the request does.
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
from gateway.wire.request import Endpoint
from router.after.signs import signs_of
from router.before.query import Query
from router.before.query_signs import query_signs
from telemetry import names
from telemetry.spans import Tracer


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where a request begins, and why; `question` is there if the small model may be asked."""

    small: bool
    reason: str
    question: str = ""
    response_format: Any = None
    judged: bool = False
    """Only the small model's answer can decide."""


class Cascade:
    """Runs what follows once, or once for each model."""

    name = "route"

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def run(self, ex: Exchange, next: Next) -> Answer:
        if ex.route is None or (tiers := ex.route.tiers) is None:
            return await next(ex)
        span = self._tracer.start(names.ROUTE, parent=ex.span)
        reason = ""
        try:
            plan = _plan(ex, tiers)
            reason = plan.reason
            if plan.small:
                ex.route = replace(tiers.small, tiers=tiers)
                answer, reason = await _ask_small(ex, tiers, plan, next)
                if answer is not None:
                    return answer
                # What was too much for the small model may have been for want of what was left out.
                ex.compress, ex.compression = OFF, None
            ex.route = replace(tiers.large, tiers=tiers)
            return await next(ex)
        finally:
            span.set(names.FOREBAY_ROUTE_REASON, reason)
            span.end()


def _plan(ex: Exchange, tiers: Tiers) -> _Plan:
    assert ex.view is not None
    asked = read_asked(ex.body) if ex.endpoint is Endpoint.CHAT else None
    question = None if asked is None else asked.question()
    if asked is None or question is None:
        return _Plan(False, "not a chat of text alone")
    if asked.tools or asked.functions:
        return _Plan(False, "the request has tools")
    if (asked.n or 1) > 1:
        return _Plan(False, "the request wants several choices")
    decision = tiers.policy.before(Query(None, query_signs(question)))
    if decision is None:
        return _Plan(True, "the small model's answer decides", question, asked.response_format, judged=True)
    large = _draw(ex) < decision.large
    return _Plan(not large, decision.reason, question, asked.response_format)


async def _ask_small(ex: Exchange, tiers: Tiers, plan: _Plan, next: Next) -> tuple[Answer | None, str]:
    """Return the small model's answer if it stands, and why or why not."""
    assert ex.view is not None
    if ex.view.stream and not plan.judged:
        return await next(ex), plan.reason
    held = None
    try:
        if ex.view.stream:
            found = await hold(ex, next)
            held = found if isinstance(found, HeldStream) else None
            answer = found.answer if isinstance(found, HeldStream) else found
        else:
            answer = await next(ex)
    except GatewayError as error:
        return None, f"the small model failed: {kind_of(error).code or type(error).__name__}"
    if answer.status != 200:
        return None, f"the small model answered with status {answer.status}"
    body = answer.body if held is None else held.whole()
    if not isinstance(body, bytes):
        return None, "the small model's answer cannot be read"
    said = read_small_answer(body, plan.question, plan.response_format)
    if said is None:
        return None, "the small model's answer cannot be read"
    decision = tiers.policy.after(signs_of(said))
    if _draw(ex) < decision.large:
        return None, decision.reason
    return (answer if held is None else held.release(ex)), decision.reason


def _draw(ex: Exchange) -> float:
    """Return a number in [0, 1) that is the same whenever the same tenant asks the same again."""
    digest = hashlib.sha256(ex.tenant.encode() + b"\0" + ex.body).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
