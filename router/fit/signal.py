"""Does a score tell anything at all? Cross-validated, with a lower bound.

On some traffic no score of the query alone beats a coin (GSM8K with right labels), and a router that trusts
one there buys noise. A score that tells right answers from wrong ones can be as useless: the large model may
fail on the same questions. So what counts is the gap between the models that escalating by the score
recovers, and a score is used only if that is more than a coin's beyond doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from router.bounds import normal_below, normal_density, normal_quantile
from router.fit.folds import Rows

# Two scores are tried, the query's and the answer's: 95% for both together.
_CONFIDENCE = 0.975
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Signal:
    """How much of the gap a score recovers on outcomes that it has not seen, mean over all shares of
    escalation (RouteLLM's APGR): 0.5 for a coin, 1 if the first that are escalated make all the
    difference."""

    recovered: float
    lower: float
    """One-sided lower bound at 97.5%."""
    gap: float
    """How much more often the large model is right."""

    @property
    def helps(self) -> bool:
        """The score is better than a coin beyond doubt."""
        return self.gap > 0 and self.lower > 0.5

    @property
    def trust(self) -> float:
        """How much of the gain over a coin to believe, given that it counts only because it beat one.

        A signal that passes just so owes much of it to luck (the winner's curse). This is the likeliest gain
        given that it passed, as a share of the one seen (Zhong and Prentice, 2008): 0 for what hardly passes,
        near 1 from four standard errors on.
        """
        z = normal_quantile(_CONFIDENCE)
        error = (self.recovered - self.lower) / z
        if not self.helps or error <= 0:
            return float(self.helps)
        seen = (self.recovered - 0.5) / error
        low, high = 0.0, seen
        for _ in range(40):
            middle = (low + high) / 2
            expected = middle + normal_density(z - middle) / normal_below(middle - z)
            low, high = (middle, high) if expected < seen else (low, middle)
        return low / seen

    def said(self, what: str) -> str:
        """Say it in a line."""
        if self.gap <= 0:
            return f"the large model is no better, so there is nothing to tell from {what}"
        found = f"APGR {self.recovered:.3f} (at least {self.lower:.3f} with 97.5%; a coin has 0.5)"
        return f"{what} helps: {found}" if self.helps else f"{what} does not beat a coin: {found}"


def measure(scores: Floats, gain: Floats, parts: Sequence[Rows]) -> Signal:
    """Compare scores [rows] with gains [rows] of -1, 0 and 1.

    Ranks are taken within each part, since scores of different models have different zeros. The APGR is 0.5
    and the covariance of rank and gain over the gap; the bound is that of a mean.
    """
    gap = float(gain.mean())
    if gap <= 0:
        return Signal(0.5, 0.0, gap)
    ranks = np.empty(len(scores))
    for part in parts:
        ranks[part] = _ranks(scores[part])
    products = (ranks - 0.5) * (gain - gap)
    error = float(products.std(ddof=1)) / sqrt(len(products)) / gap
    recovered = 0.5 + float(products.mean()) / gap
    return Signal(recovered, recovered - normal_quantile(_CONFIDENCE) * error, gap)


def auroc(scores: Floats, labels: NDArray[np.bool_]) -> float | None:
    """Return the probability that a true label has the higher score, ties halved; None if all are alike."""
    yes, no = int(labels.sum()), int((~labels).sum())
    if not yes or not no:
        return None
    places = _ranks(scores) * len(scores) + 0.5
    return float((places[labels].sum() - yes * (yes + 1) / 2) / (yes * no))


def _ranks(scores: Floats) -> Floats:
    """Return the middle of each score's place, in (0, 1); equal scores share theirs."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - counts / 2) / len(scores), dtype=float)[place]
