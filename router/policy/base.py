"""What a cascade asks of any policy: where a request begins, and what follows from an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from router.after.signs import AnswerSigns
from router.before.query import Query


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request before any tier has answered. Tiers are numbered as the route lists them."""

    query: Query
    draw: float
    """In [0, 1), the same whenever the same tenant sends the same request: for whatever is decided by lot."""
    able: tuple[bool, ...]
    """Which tiers can take the request at all; at least one can."""
    judgeable: bool = True
    """Whether an answer can be taken back when it has been judged."""
    tenant: str = ""
    tokens: int = 0
    """Estimated tokens of the prompt."""
    warm: Mapping[int, float] = field(default_factory=dict)
    """For tiers that hold this conversation's beginning in their prefix cache, the share they hold."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tier's answer the client gets, or which is to be asked next."""

    tier: int
    reason: str
    """In a line, for headers, spans and people."""
    judged: bool = False
    """The answer is to be judged before the client sees it."""


class Policy(Protocol):
    """Decides for one route. It holds no request's state and does no I/O."""

    def first(self, facts: Facts) -> Choice:
        """Return the tier that is asked first, one that is able."""

    def after(self, facts: Facts, heard: Mapping[int, AnswerSigns]) -> Choice:
        """Return what follows from the answers so far, the latest last: a tier of theirs, whose answer then
        stands, or one that has not been asked."""
