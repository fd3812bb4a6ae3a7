"""The shipped calibration: features to log-odds, and what such log-odds were worth on pairs kept apart.

The ladder is the strictest prior: for each score, the 95% upper bound of the share of wrong pairs among all
that scored at least as much, on a mix in which most pairs that the gates let through were made to deceive.
A scope without labels of its own is served by it.
"""

from __future__ import annotations

from bisect import bisect_right
from importlib.resources import files
from pathlib import Path

import msgspec

from semantic_cache.decision.features import NAMES

_LEAST_OF_PASSAGES = {"verifier": -3.75, "cosine": 0.79}
"""What all but one in a hundred of real rephrased passages reach. Words in common prove little of long texts,
and below this the weights were fitted to nothing: a sum of them is only an extrapolation."""


class Calibration(msgspec.Struct, frozen=True):
    """Weights by feature name, and the ladder: scores in rising order and the bound from each on."""

    id: str
    """Names verifier, features and fit: labels carry scores that mean something for this one only."""
    intercept: float
    weights: dict[str, float]
    rungs: tuple[float, ...]
    bounds: tuple[float, ...]

    @classmethod
    def load(cls, path: Path | None = None) -> Calibration:
        """Read the shipped calibration, or the one at `path`. Raises OSError or msgspec.ValidationError."""
        source = path or Path(str(files("semantic_cache.decision"))) / "calibration.json"
        return msgspec.json.decode(source.read_bytes(), type=cls)

    def score(self, features: tuple[float, ...]) -> float:
        """Return the log-odds of "same"."""
        return self.intercept + sum(
            self.weights[name] * value for name, value in zip(NAMES, features, strict=True)
        )

    @staticmethod
    def knows(features: tuple[float, ...]) -> bool:
        """Return whether pairs like this one were among those that the weights were fitted to."""
        named = dict(zip(NAMES, features, strict=True))
        return not named["passage"] or all(named[name] >= least for name, least in _LEAST_OF_PASSAGES.items())

    def bound(self, score: float) -> float:
        """Return the upper bound of P(wrong) for a pair of this score or better; 1 below the lowest rung."""
        place = bisect_right(self.rungs, score)
        return self.bounds[place - 1] if place else 1.0
