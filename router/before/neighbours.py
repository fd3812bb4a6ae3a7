"""What became of the most similar past queries.

The vectors stay where they are searched: this takes the similarities that a search returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp

NEAREST = 64
"""How many neighbours are worth asking for; more change nothing."""


def neighbours_mean(
    found: Iterable[tuple[float, float]], overall: float, *, width: float, strength: float
) -> float:
    """Return the expected outcome from (cosine, outcome) pairs.

    A neighbour's weight falls by e for every `width` of cosine; `strength` neighbours at cosine 1 - 3 `width`
    with the outcome `overall` stand for what is known without any, so that a query far from all others gets
    about that.
    """
    weight = strength * exp(-3.0)
    total = weight * overall
    for cosine, outcome in found:
        each = exp((cosine - 1) / width)
        total += each * outcome
        weight += each
    return total / weight
