"""What the cache makes of one request; the hops of the cache hand it on to one another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.wire.request import Endpoint
from semantic_cache.directives import Directives
from semantic_cache.scope import ExactKey

Verdict: TypeAlias = Literal["hit-exact", "coalesced", "stale", "miss", "bypass"]
"""The value of `x-forebay-cache`."""

ANSWER_ENDPOINTS: dict[Endpoint, Literal["chat", "completions"]] = {
    Endpoint.CHAT: "chat",
    Endpoint.COMPLETIONS: "completions",
}
"""Endpoints whose answers are texts, and what the cache calls them."""

SERVED: tuple[Verdict, ...] = ("hit-exact", "stale", "coalesced")
"""Verdicts of answers that this request did not cause."""


@dataclass(slots=True)
class CacheState:
    """One request's dealings with the cache."""

    directives: Directives
    key: ExactKey | None = None
    """None if the cache has nothing to do with this request."""
    reason: str | None = None
    """One word: why there is no key."""
    verdict: Verdict = "bypass"
    kept: asyncio.Task[None] | None = None
    """Stores the answer that this request caused."""

    @property
    def looks_up(self) -> bool:
        """A stored answer may serve the request."""
        return self.key is not None and not self.directives.no_cache

    @property
    def shares(self) -> bool:
        """An answer that is under way may serve the request: one asked for before it is not fresh enough."""
        return self.looks_up and self.directives.max_age != 0

    @property
    def stores(self) -> bool:
        """The answer may be stored."""
        return self.key is not None and not self.directives.no_store
