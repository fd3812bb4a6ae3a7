"""What is asked of a route: a quality, a mean cost or a mean time. Exactly one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

_STEPS = 100
SLACK = 0.01
"""A promise of quality is kept to within a point."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The share of the last tier's quality that is to be kept."""

    share: float

    @property
    def allowed(self) -> float:
        """The share of requests that may get a wrong answer of a smaller tier."""
        return 1 - (self.share - SLACK)


@dataclass(frozen=True, slots=True)
class Budget:
    """The mean price of a request, in US dollars."""

    usd: float


@dataclass(frozen=True, slots=True)
class Latency:
    """The mean time of a request, in seconds."""

    seconds: float


Knob: TypeAlias = Quality | Budget | Latency


def kept_share(each: Sequence[float], most: float) -> float:
    """Return the least share of answers that each tier but the last must keep so that a request takes at most
    `most` on average; 1 if nothing less does. `each` is what one call of each tier takes.

    If the last tier alone fits, none has to be asked before it. Tiers are taken as if they kept the same
    share of whatever reaches them.
    """
    if each[-1] <= most:
        return 0.0
    for step in range(_STEPS + 1):
        share = step / _STEPS
        reached, total = 1.0, 0.0
        for cost in each:
            total += reached * cost
            reached *= 1 - share
        if total <= most:
            return share
    return 1.0
