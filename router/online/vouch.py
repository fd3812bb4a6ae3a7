"""How much of what a tier answers may be kept: as much as the outcomes vouch for.

As in `router.fit.knobs`, the walk goes from strict to lax in fixed steps and ends at the first one that
cannot be vouched for (fixed-sequence testing). Outcomes count by their weights here, since answers that the
client got were compared only now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from router.bounds import normal_quantile

LEAST = 100
"""Outcomes below which nothing is vouched for."""
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Vouched:
    """What may be kept: the share of all answers that it comes to, and the bound that it has."""

    share: float
    loss: float
    """Upper bound of P(kept and wrong)."""


def vouch(
    scores: Sequence[float],
    agrees: Sequence[bool],
    weights: Sequence[float],
    allowed: float,
    confidence: float,
) -> Vouched | None:
    """Return the largest share of answers, the highest scores first, whose loss is at most `allowed` with
    `confidence`; None if that is none.

    One more wrong answer, of the largest weight, is always counted: none seen so far is no proof. The bound
    is a normal one on the weighted mean, for a stretch of requests as long as the one that was learned from.
    """
    if len(scores) < LEAST:
        return None
    order = sorted(range(len(scores)), key=lambda row: -scores[row])
    total, feared = sum(weights), max(weights)
    z = normal_quantile(confidence) * sqrt(2)
    found = None
    place = 0
    kept = wrong = squares = 0.0
    # Sums over all rows that do not depend on what is kept.
    weights_squared = sum(weight * weight for weight in weights)
    for step in range(1, _STEPS + 1):
        wanted = total * step / _STEPS
        while place < len(order) and (kept < wanted or _ties(scores, order, place)):
            row = order[place]
            kept += weights[row]
            if not agrees[row]:
                wrong += weights[row]
                squares += weights[row] ** 2
            place += 1
        mean = (wrong + feared) / (total + feared)
        # sum of w^2 (x - mean)^2, x being 1 for what is kept and wrong
        variance = squares * (1 - 2 * mean) + mean * mean * weights_squared
        bound = mean + z * sqrt(max(0.0, variance)) / total
        if bound > allowed:
            break
        found = Vouched(kept / total, bound)
    return found


def score_at(scores: Sequence[float], weights: Sequence[float], share: float) -> float:
    """Return the score from which on answers make up at most `share` of all."""
    order = sorted(range(len(scores)), key=lambda row: -scores[row])
    left = share * sum(weights) * (1 + 1e-9)
    lowest = float("inf")
    place = 0
    while place < len(order):
        end = place
        weight = 0.0
        # Equal scores are kept together or not at all.
        while end < len(order) and scores[order[end]] == scores[order[place]]:
            weight += weights[order[end]]
            end += 1
        if weight > left:
            break
        left -= weight
        lowest = scores[order[place]]
        place = end
    return lowest


def _ties(scores: Sequence[float], order: Sequence[int], place: int) -> bool:
    return place > 0 and scores[order[place]] == scores[order[place - 1]]
