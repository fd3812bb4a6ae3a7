"""What labels add to the shipped calibration: a fit for the scope, and within it an offset for the entry.

Log-odds of "same" for a pair of score z, an entry e and its scope: (z + a) + e. `a` is the scope's shift
with prior N(0, SCOPE_SD^2), `e` the entry's with prior N(0, ENTRY_SD^2); so an entry without labels is
decided by its scope and a scope without labels by the shipped fit. Both are MAP estimates with Laplace
variances (Newton's method; the log-posterior is concave, and the prior keeps it bounded where all labels
agree).

The bound on P(wrong) over the uncertainty of the log-odds is the least over eps of 1 - (1 - eps) *
sigmoid(lower quantile at eps); eps is spaced evenly in its logarithm, since at small budgets only small eps
matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt

from semantic_cache.decision.base import Observation
from semantic_cache.decision.bounds import lower_bound, quantile, sigmoid, upper_bound

SCOPE_SD = 1.5
ENTRY_SD = 2.0
_STEPS = 30
_GRID = tuple(10 ** (-5 + 4.7 * step / 60) for step in range(61))
_QUANTILES = tuple(quantile(1 - eps) for eps in _GRID)


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift of the log-odds and its standard deviation."""

    mean: float
    sd: float


# Each holds all labels of a scope, a thousand or more.
@lru_cache(maxsize=256)
def scope_shift(seen: tuple[Observation, ...]) -> Shift:
    """Fit a scope's shift to its labels."""
    return _fit([obs.score for obs in seen], [obs.same for obs in seen], SCOPE_SD)


@lru_cache(maxsize=16384)
def entry_shift(seen: tuple[Observation, ...], scope: Shift) -> Shift:
    """Fit an entry's shift to its labels, given its scope's."""
    return _fit([obs.score + scope.mean for obs in seen], [obs.same for obs in seen], ENTRY_SD)


def wrong_bound(mean: float, sd: float) -> float:
    """Return the upper bound of P(wrong) for log-odds of this mean and standard deviation."""
    right = max((1 - eps) * sigmoid(mean - z * sd) for eps, z in zip(_GRID, _QUANTILES, strict=True))
    return 1 - right


@lru_cache(maxsize=4096)
def lower_log_odds(mean: float, sd: float) -> float:
    """Return the log-odds that `wrong_bound` amounts to: mean less what is not known of it."""
    wrong = min(max(wrong_bound(mean, sd), 1e-12), 1 - 1e-12)
    return log((1 - wrong) / wrong)


@dataclass(frozen=True, slots=True)
class Tail:
    """Labels of a scope at a score or above: what hits there have been worth."""

    upper: float
    lower: float
    labels: int


def bounded(wrong: int, labels: int) -> Tail:
    """Return the 95% bounds that so many wrong ones among so many labels mean."""
    return Tail(upper_bound(wrong, labels), lower_bound(wrong, labels), labels)


def _fit(scores: Sequence[float], same: Sequence[bool], sd: float) -> Shift:
    shift, precision = 0.0, 1 / sd**2
    for _ in range(_STEPS if scores else 0):
        gradient, curvature = -shift / sd**2, 1 / sd**2
        for score, label in zip(scores, same, strict=True):
            p = sigmoid(score + shift)
            gradient += label - p
            curvature += p * (1 - p)
        step = gradient / curvature
        # Newton overshoots where the logistic is flat; the prior's scale limits a step.
        shift += max(-sd, min(sd, step))
        precision = curvature
        if abs(step) < 1e-6:
            break
    return Shift(shift, 1 / sqrt(precision))
