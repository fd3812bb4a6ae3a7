"""Cross-validation: every outcome is scored by a model that has not seen it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Fit = Callable[[Rows], Callable[[Rows], Sequence[float]]]
"""Learns from some rows and returns what scores others."""


def folds(count: int, parts: int, seed: int) -> list[Rows]:
    """Return `count` rows in `parts` random parts of about the same size."""
    return [
        part.astype(np.intp) for part in np.array_split(np.random.default_rng(seed).permutation(count), parts)
    ]


def unseen_scores(fit: Fit, parts: Sequence[Rows]) -> NDArray[np.float64]:
    """Return a score for every row of the parts, each from the model of all other parts."""
    scores = np.empty(sum(len(part) for part in parts))
    for held, part in enumerate(parts):
        others = np.concatenate([rows for number, rows in enumerate(parts) if number != held])
        scores[part] = fit(others)(part)
    return scores
