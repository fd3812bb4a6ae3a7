"""A logistic model over named signs: learned elsewhere (`router.fit.logistic`), read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

FARTHEST = 4.0
"""Standard deviations from its mean beyond which a sign counts no more: what lies farther than all that was
learned from must not decide alone."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What one sign counts: per standard deviation from its mean over the outcomes learned from."""

    weight: float
    mean: float
    deviation: float

    def moves(self, value: float) -> float:
        """Return what a value of the sign adds to the log odds."""
        z = (value - self.mean) / self.deviation
        return self.weight * (FARTHEST if z > FARTHEST else -FARTHEST if z < -FARTHEST else z)


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
                total += weight.moves(value)
        return total

    def probability(self, signs: Mapping[str, float]) -> float:
        """Return the probability."""
        return sigmoid(self.score(signs))

    def strongest(self, signs: Mapping[str, float], count: int = 2) -> list[str]:
        """Return the names of the signs that moved the score most."""
        moved = {
            name: abs(weight.moves(signs[name])) for name, weight in self.weights.items() if name in signs
        }
        return sorted(moved, key=moved.__getitem__, reverse=True)[:count]


def sigmoid(x: float) -> float:
    """Return the logistic function, for any x."""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))
