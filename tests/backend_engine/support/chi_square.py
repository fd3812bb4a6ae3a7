"""Whether counts follow a distribution."""

from __future__ import annotations

import math
from collections import Counter

import torch


def assert_follows(counts: Counter[int], probs: torch.Tensor) -> None:
    """Pearson's chi-square test at a level of about 1e-5, small cells pooled."""
    total = counts.total()
    observed, expected = [], []
    rest_observed = rest_expected = 0.0
    for token, prob in enumerate(probs.tolist()):
        if prob == 0:
            assert counts[token] == 0, f"token {token} has probability 0"
        elif prob * total >= 5:
            observed.append(counts[token])
            expected.append(prob * total)
        else:
            rest_observed += counts[token]
            rest_expected += prob * total
    if rest_expected:
        observed.append(rest_observed)
        expected.append(rest_expected)
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    freedom = max(1, len(observed) - 1)
    # Wilson-Hilferty: the cube root of chi-square over its freedom is close to normal.
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    assert z < 4.3, f"chi-square {statistic:.1f} with {freedom} degrees of freedom"
