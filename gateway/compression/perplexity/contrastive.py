"""LongLLMLingua (Jiang et al. 2024): how much a document and its tokens have to do with a question.

Own code from the paper's formulas. Its reordering (best documents first) is left out: messages and documents
keep their order here.
"""

from __future__ import annotations

from collections.abc import Sequence

DELTA = 0.3
"""By how much the rate of the first document lies above the mean, and that of the last below it."""


def contrast(alone: Sequence[float], asked: Sequence[float]) -> list[float]:
    """Return NLL(x | before) - NLL(x | question, before): what the question tells of each token or word."""
    return [one - other for one, other in zip(alone, asked, strict=True)]


def ranks(likelihoods: Sequence[float]) -> list[int]:
    """Return each document's rank by r_k, the mean NLL of the question after it: 0 has the lowest."""
    order = sorted(range(len(likelihoods)), key=lambda place: (likelihoods[place], place))
    out = [0] * len(order)
    for rank, place in enumerate(order):
        out[place] = rank
    return out


def rate_of_rank(rate: float, rank: int, count: int, delta: float = DELTA) -> float:
    """Return tau_k = clip(tau + delta (1 - 2 rank / (K - 1)), 0, 1)."""
    if count < 2:
        return min(1.0, max(0.0, rate))
    return min(1.0, max(0.0, rate + delta * (1 - 2 * rank / (count - 1))))
