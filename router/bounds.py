"""The few distributions that routing needs."""

from __future__ import annotations

from statistics import NormalDist

_NORMAL = NormalDist()


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile."""
    return _NORMAL.inv_cdf(min(max(probability, 1e-12), 1 - 1e-12))


def normal_density(x: float) -> float:
    """Return the standard normal density."""
    return _NORMAL.pdf(x)


def normal_below(x: float) -> float:
    """Return P(X < x) of a standard normal X."""
    return _NORMAL.cdf(x)
