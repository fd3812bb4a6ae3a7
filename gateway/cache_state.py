"""What the cache makes of one request; the hops of the cache hand it on to one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.config.schema import SharedCache
from gateway.wire.request import Endpoint
from semantic_cache.directives import Directives
from semantic_cache.question import Question
from semantic_cache.scope import ExactKey, Scope

Verdict: TypeAlias = Literal["hit-exact", "hit-semantic", "coalesced", "stale", "miss", "bypass"]
"""The value of `x-forebay-cache`."""

ANSWER_ENDPOINTS: dict[Endpoint, Literal["chat", "completions"]] = {
    Endpoint.CHAT: "chat",
    Endpoint.COMPLETIONS: "completions",
}
"""Endpoints whose answers are texts, and what the cache calls them."""

SERVED: tuple[Verdict, ...] = ("hit-exact", "hit-semantic", "stale", "coalesced")
"""Verdicts of answers that this request did not cause."""


@dataclass(frozen=True, slots=True)
class SemanticHit:
    """The stored answer of another question that an answer is."""

    entry: ExactKey
    similarity: float
    ticket: int
    """For what the semantic process may still learn about it."""
    status: str
    """`Cache-Status`"""
    age: str


@dataclass(slots=True)
class Asked:
    """A question that the semantic tier has to do with."""

    text: str
    embedder: str = ""
    vector: bytes = b""
    """As `Record.vector`; empty if the semantic process was not asked or did not answer."""
    compare: Callable[[bytes], None] | None = None
    """Takes the fresh answer (`Entry.answer`) of a question that is explored."""


@dataclass(slots=True)
class CacheState:
    """One request's dealings with the cache."""

    directives: Directives
    key: ExactKey | None = None
    """None if the cache has nothing to do with this request."""
    reason: str | None = None
    """One word: why there is no key."""
    verdict: Verdict = "bypass"
    scope: Scope | None = None
    question: Question | None = None
    threshold: float | None = None
    """Similarity below which the caller wants nothing."""
    epoch: int = 0
    """The tenant's, when the question was asked."""
    group: SharedCache | None = None
    """Whom the answer is shared with, once one of them has got the same."""
    shared: ExactKey | None = None
    """Where the group has its answer to the question."""
    holder: str = ""
    """Who has the answer that the request got from the cache: the tenant, or its group."""
    asked: Asked | None = None
    hit: SemanticHit | None = None
    kept: asyncio.Task[None] | None = None
    """Stores the answer that this request caused."""

    def take(self, hit: SemanticHit) -> None:
        """Note that the answer is another question's."""
        self.hit, self.verdict, self.holder = hit, "hit-semantic", hit.entry.tenant

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
