"""A per-entry error-bounded threshold as published (vCache, 2025), from its formulas, for comparison.

Each entry keeps (similarity, right) of later questions whose nearest neighbour it was, seeded with (0,
wrong) and (1, right). A logistic in the similarity is fitted by maximum likelihood; the threshold's
variance comes from the inverse information (a small table stands in where the classes separate); for each
eps of a linear grid the chance that the answer is right is bounded from below, and what the best eps leaves
of the budget is explored. The guarantee is over all requests, explored ones included, not over hits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, sqrt

from semantic_cache.decision.bounds import quantile, sigmoid

LEAST = 6
_EPS = [i / 49 for i in range(1, 49)]
_SEPARATED = {6: 0.035, 7: 0.030, 8: 0.025, 9: 0.021, 10: 0.018, 11: 0.015, 12: 0.012}
_FLOOR = 0.010


@dataclass(slots=True)
class PublishedEntry:
    """One cached entry's observations and its fit, kept until there is a new observation."""

    seen: list[tuple[float, bool]] = field(default_factory=lambda: [(0.0, False), (1.0, True)])
    fit: tuple[float, float, float] | None = None

    def observe(self, similarity: float, right: bool) -> None:
        """Add an observation."""
        self.seen.append((similarity, right))
        self.fit = None

    def explore(self, similarity: float, budget: float) -> float:
        """Return the probability with which the model must be asked."""
        if len(self.seen) - 2 < LEAST:
            return 1.0
        slope, threshold, deviation = self.fit or self._fit()
        best = 1.0
        for eps in _EPS:
            bound = threshold + quantile(1 - eps) * deviation
            right = (1 - eps) * sigmoid(slope * (similarity - bound))
            best = min(best, 1 - budget / max(1 - right, 1e-9))
        return min(max(best, 0.0), 1.0)

    def _fit(self) -> tuple[float, float, float]:
        b0, b1 = -5.0, 10.0
        for _ in range(60):
            g0 = g1 = h00 = h01 = h11 = 1e-9
            for s, right in self.seen:
                p = sigmoid(b0 + b1 * s)
                w = p * (1 - p)
                g0, g1 = g0 + right - p, g1 + (right - p) * s
                h00, h01, h11 = h00 + w, h01 + w * s, h11 + w * s * s
            determinant = h00 * h11 - h01 * h01
            if determinant < 1e-8:
                break
            b0 += max(-5.0, min(5.0, (h11 * g0 - h01 * g1) / determinant))
            b1 += max(-5.0, min(5.0, (h00 * g1 - h01 * g0) / determinant))
        slope = min(max(b1, 1.0), 200.0)
        threshold = min(max(-b0 / b1 if b1 > 0 else 1.0, 0.0), 1.0)
        highest_wrong = max(s for s, right in self.seen if not right)
        if highest_wrong < min(s for s, right in self.seen if right):
            variance = _SEPARATED.get(len(self.seen) - 2, _FLOOR)
            threshold = max(threshold, highest_wrong)
        else:
            gradient = (-1 / slope, b0 / slope**2)
            determinant = max(h00 * h11 - h01 * h01, 1e-8)
            variance = (
                gradient[0] ** 2 * h11 - 2 * gradient[0] * gradient[1] * h01 + gradient[1] ** 2 * h00
            ) / determinant
        self.fit = (slope, threshold, sqrt(min(max(variance, 1e-8), exp(2))))
        return self.fit
