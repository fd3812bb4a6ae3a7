"""A linear function of a query's vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from router.logistic import sigmoid


@dataclass(frozen=True, slots=True)
class Linear:
    """bias + weights · vector."""

    bias: float
    weights: tuple[float, ...]

    def __call__(self, vector: Sequence[float]) -> float:
        """Return its value; some ten microseconds for 384 dimensions."""
        return self.bias + float(sum(map(mul, self.weights, vector)))


@dataclass(frozen=True, slots=True)
class Factorised:
    """RouteLLM's matrix factorisation for two models, multiplied out.

    There, P(strong wins | q) = sigmoid(δ_strong - δ_weak) with δ_m = w · (v_m ⊙ W e_q), and v_m of unit
    length. For one pair of models that is linear in the query's vector e_q, so only the product W^T (w ⊙
    (v_strong - v_weak)) is kept.
    """

    linear: Linear

    def __call__(self, vector: Sequence[float]) -> float:
        """Return P(strong wins | query)."""
        return sigmoid(self.linear(vector))
