"""Selective Context (Li et al. 2023): a unit that a language model could have guessed says little.

The information of a unit is the sum over its tokens of -log p(x_t | x_<t). The paper drops the units below a
percentile, which decides anew about everything whenever the text grows; for a conversation whose prefix must
keep its bytes the cut is an absolute one, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.compression.perplexity.nll import Token, of_spans


def information(tokens: Sequence[Token], text: str, units: Sequence[tuple[int, int]]) -> list[float]:
    """Return the self-information of each unit of a text, in nats; `units` are spans in order."""
    return [sum(nlls) for nlls in of_spans(tokens, text, units)]


def above(values: Sequence[float], least: float) -> set[int]:
    """Return the places of the units that say at least so much."""
    return {place for place, value in enumerate(values) if value >= least}


def fitting(values: Sequence[float], sizes: Sequence[int], budget: int) -> set[int]:
    """Return the places of the units that say most and have `budget` characters together.

    That is a percentile by size: no unit is kept that says less than one which did not fit.
    """
    kept: set[int] = set()
    for place in sorted(range(len(values)), key=lambda place: (-values[place], place)):
        if sizes[place] > budget:
            break
        kept.add(place)
        budget -= sizes[place]
    return kept
