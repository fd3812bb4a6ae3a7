"""A logistic model over named signs: learned elsewhere (`router.fit.logistic`), read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp


@dataclass(frozen=True, slots=True)
class Weight:
    """What one sign counts: per standard deviation from its mean over the outcomes learned from."""

    weight: float
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Logistic:
    """P(right | signs). A sign that is missing counts as its mean: neither for nor against."""

    bias: float
    weights: Mapping[str, Weight]

    def score(self, signs: Mapping[str, float]) -> float:
        """Return the log odds."""
        total = self.bias
        for name, weight in self.weights.items():
            value = signs.get(name)
            if value is not None:
                total += weight.weight * (value - weight.mean) / weight.deviation
        return total

    def probability(self, signs: Mapping[str, float]) -> float:
        """Return the probability."""
        return sigmoid(self.score(signs))

    def strongest(self, signs: Mapping[str, float], count: int = 2) -> list[str]:
        """Return the names of the signs that moved the score most."""
        moved = {
            name: abs(weight.weight * (signs[name] - weight.mean) / weight.deviation)
            for name, weight in self.weights.items()
            if name in signs
        }
        return sorted(moved, key=moved.__getitem__, reverse=True)[:count]


def sigmoid(x: float) -> float:
    """Return the logistic function, for any x."""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))
