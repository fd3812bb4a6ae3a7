"""One request before the cascade: what is asked, who could answer, and what has been decided so far."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec

from gateway.compression.remembered import digest
from gateway.exchange import Exchange, Route, Tiers
from gateway.routing.needs import able, lacks, needs_of
from gateway.routing.sessions import Sessions, Turn
from gateway.routing.sticky import stays
from gateway.wire.asked import Asked, read_asked
from gateway.wire.estimate import prompt_tokens
from gateway.wire.request import Endpoint
from router.before.query import Query
from router.before.query_signs import query_signs
from router.policy.base import Choice, Facts

Fits: TypeAlias = Callable[[Route, bytes, str], bool]
"""Whether a model's context window holds the prompt of a request of that tenant, as far as is known."""


class ForTheLast(Exception):
    """Only the last model can answer, and nothing is to be judged; the message says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request that can be judged."""

    asked: Asked
    question: str
    facts: Facts
    unable: str
    """What keeps the smallest of the tiers from it that cannot take it; empty if all can."""
    turn: Turn

    @property
    def tools(self) -> bool:
        """The answer may call tools."""
        return bool(self.asked.tools)

    @property
    def least(self) -> int:
        """The smallest tier that can take the request."""
        return self.facts.able.index(True)

    @property
    def most(self) -> int:
        """The largest tier that can take the request."""
        return len(self.facts.able) - 1 - self.facts.able[::-1].index(True)

    def knowing(self, signs: Mapping[str, float]) -> Case:
        """Return the case with more signs of its query."""
        if not signs:
            return self
        query = replace(self.facts.query, signs={**self.facts.query.signs, **signs})
        return replace(self, facts=replace(self.facts, query=query))

    def first(self, tiers: Tiers) -> tuple[Choice, bool]:
        """Return where the request begins, and whether its conversation is why."""
        if self.least == len(tiers.routes) - 1:
            return Choice(self.least, self.unable), False
        choice = tiers.policy.first(self.facts)
        why = self._stays(tiers, choice)
        if why is not None:
            return replace(tiers.policy.first(self.above().facts), reason=why), True
        if choice.tier > self.least or not self.unable:
            return choice, False
        return replace(choice, reason=f"{self.unable}; {choice.reason}"), False

    def above(self) -> Case:
        """Return the case without the tiers below the one that the conversation stays with."""
        last = self.turn.tier or 0
        mask = tuple(can and tier >= last for tier, can in enumerate(self.facts.able))
        return replace(self, facts=replace(self.facts, able=mask))

    def _stays(self, tiers: Tiers, choice: Choice) -> str | None:
        last = self.turn.tier
        if last is None or not self.facts.able[last]:
            return None
        prices = tuple(route.target.price for route in tiers.routes)
        why = stays(self.turn, choice.tier, prices, self.facts.tokens)
        return None if why is None else f"session: stays with {tiers.routes[last].label}, as {why}"


def read_case(ex: Exchange, tiers: Tiers, sessions: Sessions, fits: Fits, *, judgeable: bool) -> Case:
    """Return what is known of a request before any model has answered. Raises ForTheLast."""
    asked = read_asked(ex.body) if ex.endpoint is Endpoint.CHAT else None
    question = None if asked is None else asked.question()
    if asked is None or question is None:
        raise ForTheLast("not a chat of text and pictures")
    if asked.functions or asked.functions_by_name() is None:
        raise ForTheLast("the request has tools that are no functions")
    if (asked.n or 1) > 1:
        raise ForTheLast("the request wants several choices")
    turn = _turn(ex, asked, sessions)
    needs = needs_of(asked)

    def lacking(route: Route) -> str | None:
        return lacks(route.can, needs) or (
            None if fits(route, ex.body, ex.tenant) else "has too short a window"
        )

    found = able(tiers.routes, lacking)
    facts = Facts(
        Query(None, query_signs(question, tools=needs.tools)),
        _draw(turn.key),
        found.tiers,
        judgeable,
        ex.tenant,
        prompt_tokens(ex.body),
        turn.warm,
    )
    return Case(asked, question, facts, found.why, turn)


def _turn(ex: Exchange, asked: Asked, sessions: Sessions) -> Turn:
    assert ex.view is not None and ex.route is not None
    place = ex.view.spans["messages"]
    named = ex.session is not None
    # As JSON again: only there may a number have any size.
    what = msgspec.json.encode(ex.session if ex.session is not None else asked.beginning())
    key = digest(ex.tenant, ex.route.label, named, what)
    # Whoever names a conversation need not send what was said in it.
    return sessions.turn(ex.tenant, key, ex.body[place.start : place.end], goes_on=named or asked.goes_on())


def _draw(key: bytes) -> float:
    """Return a number in [0, 1) that is the same for all turns of a conversation: lots are drawn for it as a
    whole, so that it does not go to and fro."""
    return int.from_bytes(hashlib.sha256(key).digest()[:6], "big") / 2**48
