"""Asks tiers that a request passed by, in the background: what would they have said?"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Route
from gateway.settlement import cost_of
from gateway.subrequests import FRESH, Subrequests
from gateway.wire.logprobs import TOP
from router.online.experience import Experience
from semantic_cache.directives import BODY_FIELD
from telemetry import names
from telemetry.spans import Tracer

_NOT_REPEATED = ("stream", "stream_options", BODY_FIELD)


class Shadow:
    """Sends the client's own request to other tiers, on the tenant's account and under a span of its own."""

    def __init__(self, subrequests: Subrequests, tracer: Tracer) -> None:
        self._subrequests = subrequests
        self._tracer = tracer

    async def ask(
        self, ex: Exchange, tiers: list[Route], experience: Experience
    ) -> tuple[dict[str, bytes], float]:
        """Return what these tiers answer, those that fail left out, and what that cost in US dollars."""
        own = ex.branch()
        own.inner = []
        own.span = self._tracer.start(names.ROUTE_SHADOW, parent=ex.span)
        found = {}
        try:
            body: dict[str, Any] = msgspec.json.decode(ex.body, type=dict[str, Any])
            for name in _NOT_REPEATED:
                body.pop(name, None)
            for tier in tiers:
                asked = {**body, "model": tier.label}
                if tier.can.logprobs:
                    # As it would have been asked had its answer been judged.
                    asked |= {"logprobs": True, "top_logprobs": TOP}
                try:
                    said = await self._subrequests.ask(own, asked, cache_control=FRESH)
                except GatewayError:
                    continue
                if said.status == 200:
                    found[tier.label] = said.body
        finally:
            own.span.end()
        for inner in own.inner:
            for call in inner.calls:
                if (
                    (usage := call.outcome.usage) is not None
                    and call.error is None
                    and call.model in experience.usual
                ):
                    experience.usual[call.model].take(usage.input_tokens, usage.output_tokens, call.seconds())
        return found, sum(cost_of(inner) or 0.0 for inner in own.inner)
