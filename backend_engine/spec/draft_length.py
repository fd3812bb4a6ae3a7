"""How many drafted tokens to verify: those that bring more tokens a second than the step loses by them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A draft whose tokens are accepted with probabilities `rates`, each if those before it are."""

    rates: tuple[float, ...]


def draft_lengths(
    candidates: Sequence[Candidate], *, num_sequences: int, seconds: Callable[[int], float], budget: int
) -> list[int]:
    """Return how many tokens of each candidate to verify, at most `budget` in all.

    `num_sequences` sequences get a token each whatever happens; a step of n tokens takes `seconds(n)`. Tokens
    join in the order of their probability to be accepted, and as many as give the most expected tokens a
    second: the more sequences share a step, the surer a draft has to be.
    Source: goodput, as in Liu et al., Optimizing Speculative Decoding for Serving (arXiv 2406.14066).
    """
    heap = [(-candidate.rates[0], at) for at, candidate in enumerate(candidates) if candidate.rates]
    heapq.heapify(heap)
    lengths = [0] * len(candidates)
    joined: list[int] = []
    expected = float(num_sequences)
    best, most = 0, expected / seconds(num_sequences)
    while heap and len(joined) < budget:
        loss, at = heap[0]
        joined.append(at)
        lengths[at] += 1
        expected -= loss
        if (speed := expected / seconds(num_sequences + len(joined))) > most:
            best, most = len(joined), speed
        if lengths[at] < len(rates := candidates[at].rates):
            heapq.heapreplace(heap, (loss * rates[lengths[at]], at))
        else:
            heapq.heappop(heap)
    for at in joined[best:]:
        lengths[at] -= 1
    return lengths
