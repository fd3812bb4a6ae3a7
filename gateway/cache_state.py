"""What the cache makes of one request; the hops of the cache hand it on to one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from gateway.config.schema import SharedCache
from gateway.wire.request import Endpoint
from semantic_cache.directives import Directives
from semantic_cache.entry import Entry
from semantic_cache.question import Question
from semantic_cache.scope import ExactKey, Scope
from semantic_cache.semantic.protocol import Steps

if TYPE_CHECKING:
    from gateway.exchange import Call

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
    waited_ms: float | None = None
    """For the semantic process, if it answered."""
    steps: Steps | None = None
    """What that process did meanwhile."""
    reread_ms: float | None = None
    """For the store to give the entry that the process named."""

    def timings(self) -> list[tuple[str, float]]:
        """Return where the semantic tier's time went, in milliseconds; `embed` and what follows it up to
        `decide` are within `semantic`."""
        out = [] if self.waited_ms is None else [("semantic", round(self.waited_ms, 3))]
        if self.steps is not None:
            out += [(step, getattr(self.steps, step)) for step in Steps.__struct_fields__]
        if self.reread_ms is not None:
            out.append(("reread", round(self.reread_ms, 3)))
        return out


class SharedCall(Protocol):
    """The call that a flight makes, as the hops see it which make it."""

    attempt: int
    """1, or 2 if it is made because the first one failed: then what comes of it is everybody's answer."""

    def hold(self) -> None:
        """Let the call go on although all of its requests may leave: others wait for it elsewhere."""

    def let_go(self) -> None:
        """Nobody waits for it elsewhere any more."""

    def orphaned(self) -> bool:
        """Return whether none of its requests answers for it any more."""


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
    stored: tuple[Entry, ...] = ()
    """The stored answer that the request got, or those of its items that were stored."""
    followed: Sequence[Call] = ()
    """The calls of the request that it joined, which answers for their cost."""
    kept: asyncio.Task[None] | None = None
    """Stores the answer that this request caused."""
    call: SharedCall | None = None
    """Set if the request goes on for all who ask the same."""

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
