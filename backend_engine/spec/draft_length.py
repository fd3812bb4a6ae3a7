"""How many drafted tokens to verify: those that bring more tokens a second than the step loses by them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A draft of `longest` tokens, each accepted with probability `rate` if those before it are."""

    rate: float
    longest: int


def draft_lengths(
    candidates: Sequence[Candidate],
    *,
    num_sequences: int,
    seconds: float,
    seconds_per_token: float,
    budget: int,
) -> list[int]:
    """Return how many tokens of each candidate to verify, at most `budget` in all.

    `num_sequences` sequences get a token each from a step of `seconds`; every token to verify adds
    `seconds_per_token`. The token most likely to be accepted joins first, and tokens join as long as the
    expected tokens a second rise: the more sequences share a step, the surer a draft has to be.
    Source: goodput, as in Liu et al., Optimizing Speculative Decoding for Serving (arXiv 2406.14066).
    """
    lengths = [0] * len(candidates)
    expected = float(num_sequences)
    heap = [(-candidate.rate, at) for at, candidate in enumerate(candidates) if candidate.longest]
    heapq.heapify(heap)
    for _ in range(budget):
        if not heap:
            break
        gain, at = -heap[0][0], heap[0][1]
        if gain * seconds <= expected * seconds_per_token:
            break
        expected += gain
        seconds += seconds_per_token
        lengths[at] += 1
        if lengths[at] < candidates[at].longest:
            heapq.heapreplace(heap, (-gain * candidates[at].rate, at))
        else:
            heapq.heappop(heap)
    return lengths
