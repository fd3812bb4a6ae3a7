"""What a strategy is given and what it returns: a long text, and a shorter one that stands in its place.

The request itself is answered by one last call whose prompt has the shorter text where the long one was. So
every strategy streams, calls tools and formats its answer as the model does, and only differs in how much is
read beforehand.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Count: TypeAlias = Callable[[str], int]
"""The tokens of a text, or somewhat more where only an estimate is to be had."""

Ask: TypeAlias = Callable[[str, int], Awaitable[str]]
"""Sends a prompt to the model and returns its answer of at most so many tokens. Bounded in how many are under
way at once; raises GatewayError; stops when its caller is cancelled."""

Rank: TypeAlias = Callable[[str, Sequence[str]], Awaitable[list[float] | None]]
"""The similarity of each text to the question; None if nobody can say."""


@dataclass(frozen=True, slots=True)
class Overlong:
    """A text that does not fit, and what is wanted of it."""

    text: str
    question: str
    """What the user asks; empty if it cannot be told."""
    budget: int
    """Tokens that may stand in the text's place."""
    window: int
    """Tokens that one prompt to `ask` may have, its answer not counted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long job has come."""

    strategy: str
    step: str
    """Such as `windows` or `summaries, level 2`."""
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Means:
    """What a strategy may use."""

    count: Count
    ask: Ask
    rank: Rank
    progress: Callable[[Progress], None]
    calls_left: Callable[[], int] = lambda: sys.maxsize
    """How often `ask` may still be used."""


class Strategy(Protocol):
    """One way to make a text shorter."""

    name: str

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        """Return what stands in the text's place, within the budget. Raises CannotShorten, GatewayError."""


class CannotShorten(Exception):
    """The strategy is of no use for this text; the next one is tried."""
