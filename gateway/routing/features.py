"""What else is found out of a query before any model of a route that learns is asked, in a bounded time.

Each is a sign like those that are read off the text, so what it is worth is learned with them; one that could
not be had in time is missing, which counts neither for nor against. Nobody fails for want of one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.compression.perplexity.scorer import MOST_CHARS, Scorer
from gateway.exchange import Exchange
from gateway.routing.past import Past
from telemetry.spans import Span

NEIGHBOURS, PERPLEXITY = "neighbours", "perplexity"
_PERPLEXITY_S = 0.5


@dataclass(frozen=True, slots=True)
class Features:
    """Of one route."""

    past: Past
    scorer: Scorer | None = None
    """The small model as one that tells how surprising texts are, if that is asked of it."""

    async def of(self, ex: Exchange, question: str, span: Span) -> Mapping[str, float]:
        """Return the signs that could be had of a client's request; `span` is the one that is waited in."""
        if ex.origin is not None:
            return {}
        found = {}
        if (near := await self.past.agreement_near(ex)) is not None:
            found[NEIGHBOURS] = near
        if (surprise := await self._surprise(ex, question, span)) is not None:
            found[PERPLEXITY] = surprise
        return found

    async def _surprise(self, ex: Exchange, question: str, span: Span) -> float | None:
        """Return the mean of the tokens' negative log likelihoods."""
        text = question[-MOST_CHARS:]
        if self.scorer is None or not text:
            return None
        scored = await self.scorer.score(ex, span, time.monotonic() + _PERPLEXITY_S, [text])
        # Nothing comes before the first token, so it tells nothing.
        tokens = [] if scored is None else scored[0][1:]
        return sum(token.nll for token in tokens) / len(tokens) if tokens else None
