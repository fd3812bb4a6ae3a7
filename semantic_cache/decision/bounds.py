"""The few distributions that the decision needs: normal quantiles, and bounds of a share from counts."""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log
from statistics import NormalDist

_NORMAL = NormalDist()


def quantile(probability: float) -> float:
    """Return the standard normal quantile."""
    return _NORMAL.inv_cdf(min(max(probability, 1e-12), 1 - 1e-12))


def sigmoid(x: float) -> float:
    """Return the logistic function, for any x."""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


@lru_cache(maxsize=65536)
def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a share (Clopper and Pearson, 1934); 1 without trials."""
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _at_most(events, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=65536)
def lower_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound of a share; 0 without trials."""
    return 0.0 if trials == 0 else 1 - upper_bound(trials - events, trials, confidence)


def _at_most(events: int, trials: int, share: float) -> float:
    """P(X <= events) for a binomial X."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    base = lgamma(trials + 1)
    return sum(
        exp(base - lgamma(k + 1) - lgamma(trials - k + 1) + k * log(share) + (trials - k) * log(1 - share))
        for k in range(events + 1)
    )
