"""What is counted of a router's scores on outcomes that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def curve(scores: Floats, weak: Flags, strong: Flags) -> tuple[Floats, Floats]:
    """Return shares of strong calls and the accuracy at each, the highest scores called first.

    Rows with equal scores are called in no order: there the curve is a straight line.
    """
    order = np.argsort(-scores, kind="stable")
    gain = (strong.astype(float) - weak.astype(float))[order]
    ends = np.append(np.flatnonzero(np.diff(scores[order])) + 1, len(scores))
    shares = np.concatenate([[0.0], ends / len(scores)])
    return shares, weak.mean() + np.concatenate([[0.0], np.cumsum(gain)[ends - 1] / len(scores)])


def share_for(scores: Floats, weak: Flags, strong: Flags, quality: float) -> float:
    """Return the least share of strong calls with `quality` of the strong model's accuracy."""
    shares, accuracy = curve(scores, weak, strong)
    wanted = quality * strong.mean() - 1e-12
    if accuracy[0] >= wanted:
        return 0.0
    after = int(np.flatnonzero(accuracy >= wanted)[0])
    rise = accuracy[after] - accuracy[after - 1]
    return float(
        shares[after - 1] + (wanted - accuracy[after - 1]) / rise * (shares[after] - shares[after - 1])
    )


def apgr(scores: Floats, weak: Flags, strong: Flags) -> float | None:
    """Return the average performance gap recovered over all shares of strong calls; None without a gap."""
    gap = strong.mean() - weak.mean()
    if gap <= 0:
        return None
    shares, accuracy = curve(scores, weak, strong)
    return float(np.trapezoid((accuracy - weak.mean()) / gap, shares))


def calibration_error(predicted: Floats, right: Flags, bins: int = 10) -> float:
    """Return the expected calibration error over bins of equal size."""
    parts = np.array_split(np.argsort(predicted, kind="stable"), bins)
    return float(
        sum(len(p) / len(right) * abs(predicted[p].mean() - right[p].mean()) for p in parts if len(p))
    )


def figures(
    scores: Floats, weak: Flags, strong: Flags, costs: tuple[Floats, Floats] | None, *, cascade: bool
) -> dict[str, Any]:
    """Return the figures of one split; without prices the cost is the share of strong calls."""
    found = {
        "strong_calls_at_95": share_for(scores, weak, strong, 0.95),
        "strong_calls_at_100": share_for(scores, weak, strong, 1.0),
        "apgr": apgr(scores, weak, strong),
    }
    return found | {
        f"cost_at_{quality}": _cost(scores, found[f"strong_calls_at_{quality}"], costs, cascade=cascade)
        for quality in (95, 100)
    }


def _cost(scores: Floats, share: Any, costs: tuple[Floats, Floats] | None, *, cascade: bool) -> float:
    """Return the cost as a share of calling the strong model always."""
    if costs is None:
        return float(share)
    small, large = costs
    called = np.argsort(-scores, kind="stable")[: round(share * len(scores))]
    spent = small.sum() + large[called].sum() - (0.0 if cascade else small[called].sum())
    return float(spent / large.sum())


def means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of each figure over splits; None where no split has it."""
    found = {}
    for key in rows[0]:
        values = [row[key] for row in rows if row[key] is not None]
        found[key] = round(float(np.mean(values)), 4) if values else None
    return found
