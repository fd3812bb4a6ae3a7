"""The cascade-routing rule (Dekoninck, Baader and Vechev, arXiv 2410.10347): which tier to run next, if any.

Routing picks one tier before anything ran; a cascade goes from tier to tier. Both are cases of one choice:
among all sets of tiers that hold those already run, take the one with the highest E[best answer] - price of
quality x cost. If it is what has run, stop; else run its cheapest next tier and look again with what is then
known.

The published rule takes a set's cost as that of all its tiers. Where an early answer may end the cascade,
that is too much: with `Estimate.ends` a later tier costs only as often as the ones before it do not end it,
which for two tiers comes to asking the small one first exactly if P(escalation) < 1 - small cost / large
cost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

from router.bounds import normal_below, normal_density

_MOST_TIERS = 8
"""Sets double with every tier."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a tier for one request."""

    quality: float
    """Probability that its answer is right."""
    uncertainty: float
    """Standard deviation of that estimate; smaller once the tier has answered and been judged."""
    cost_usd: float
    """What running it costs from here; ignored once it has run."""
    ends: float = 0.0
    """Probability that its answer will end the cascade. Such an answer is as good as was asked for, which
    is what the last tier's is: it counts as 1."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next."""

    run: str | None
    """The tier to run; None to stop and answer with the best that is there."""
    reason: str


def next_step(estimates: Mapping[str, Estimate], ran: Collection[str], usd_per_quality: float) -> Step:
    """Return the next step. `usd_per_quality` is what a right answer more is worth.

    With equal values fewer tiers are run, but the first always one. Raises ValueError for more than 8 tiers
    or none.
    """
    if not 0 < len(estimates) <= _MOST_TIERS:
        raise ValueError(f"a cascade has 1 to {_MOST_TIERS} tiers")
    left = sorted((name for name in estimates if name not in ran), key=lambda name: estimates[name].cost_usd)
    best: tuple[str, ...] = ()
    here = value = usd_per_quality * expected_best([estimates[name] for name in ran]) if ran else -1.0
    for size in range(1, len(left) + 1):
        for more in combinations(left, size):
            worth = _worth(estimates, ran, more, usd_per_quality)
            if worth > value or (not ran and not best):
                best, value = more, worth
    if not best:
        return Step(None, "no further tier is worth its cost")
    chosen = best[0]
    if not ran:
        then = f", then perhaps {' or '.join(best[1:])}" if best[1:] else ""
        first = "first" if best[1:] or len(left) == 1 else "alone"
        return Step(chosen, f"{chosen} {first}{then}: quality {estimates[chosen].quality:.2f}")
    return Step(chosen, f"{chosen} adds ${value - here:.6f} of value beyond its cost")


def _worth(
    estimates: Mapping[str, Estimate], ran: Collection[str], more: Collection[str], usd_per_quality: float
) -> float:
    """Return the expected value of running `more` in its order, beyond its cost, until an answer ends it."""
    worth, reached = 0.0, 1.0
    *early, last = (estimates[name] for name in more)
    for tier in early:
        worth += reached * (tier.ends * usd_per_quality - tier.cost_usd)
        reached *= 1 - tier.ends
    best = expected_best([*(estimates[name] for name in ran), *early, last])
    return worth + reached * (usd_per_quality * best - last.cost_usd)


def expected_best(estimates: Collection[Estimate]) -> float:
    """Return E[max] of independent normal qualities: exact for two, Clark's recursion (1961) beyond."""
    known = iter(estimates)
    first = next(known)
    mean, variance = first.quality, first.uncertainty**2
    for other in known:
        mean, variance = _best_of_two(mean, variance, other.quality, other.uncertainty**2)
    return mean


def _best_of_two(a: float, a_variance: float, b: float, b_variance: float) -> tuple[float, float]:
    spread = sqrt(a_variance + b_variance)
    if spread < 1e-12:
        return max(a, b), 0.0
    d = (a - b) / spread
    above, below, density = normal_below(d), normal_below(-d), normal_density(d)
    mean = a * above + b * below + spread * density
    square = (a * a + a_variance) * above + (b * b + b_variance) * below + (a + b) * spread * density
    return mean, max(0.0, square - mean * mean)
