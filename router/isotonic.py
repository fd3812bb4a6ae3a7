"""A monotone map from a score to a mean of outcomes: pool adjacent violators, then steps joined by lines."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Scores in rising order and what they mean; flat beyond both ends."""

    scores: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, score: float) -> float:
        """Return the calibrated value of a score."""
        place = bisect_left(self.scores, score)
        if place == 0:
            return self.values[0]
        if place == len(self.scores):
            return self.values[-1]
        low, high = self.scores[place - 1], self.scores[place]
        share = (score - low) / (high - low)
        return self.values[place - 1] + share * (self.values[place] - self.values[place - 1])


def fit_isotonic(
    scores: Sequence[float],
    outcomes: Iterable[float],
    smallest: int = 1,
    weights: Sequence[float] | None = None,
) -> Isotonic:
    """Return the rising map nearest to the outcomes in squares, over blocks of at least `smallest`, so that a
    few lucky outcomes at an end do not become certainty. Without `weights` all count the same.

    Raises ValueError without scores.
    """
    pairs = sorted(zip(scores, outcomes, [1.0] * len(scores) if weights is None else weights, strict=True))
    if not pairs:
        raise ValueError("no outcomes to calibrate on")
    blocks: list[_Block] = []
    for block in _blocks(pairs, smallest):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2].mean >= blocks[-1].mean:
            last = blocks.pop()
            blocks[-1] = blocks[-1].joined(last)
    return Isotonic(tuple(b.scores / b.weight for b in blocks), tuple(b.mean for b in blocks))


@dataclass(frozen=True, slots=True)
class _Block:
    scores: float
    values: float
    weight: float
    count: int

    @property
    def mean(self) -> float:
        return self.values / self.weight

    def joined(self, other: _Block) -> _Block:
        return _Block(
            self.scores + other.scores,
            self.values + other.values,
            self.weight + other.weight,
            self.count + other.count,
        )


def _blocks(pairs: Sequence[tuple[float, float, float]], smallest: int) -> list[_Block]:
    """Return blocks in order; equal scores are in the same one, and what is left over in the last."""
    blocks: list[_Block] = []
    previous = None
    for score, value, weight in pairs:
        one = _Block(weight * score, weight * value, weight, 1)
        if blocks and (score == previous or blocks[-1].count < smallest):
            blocks[-1] = blocks[-1].joined(one)
        else:
            blocks.append(one)
        previous = score
    if len(blocks) > 1 and blocks[-1].count < smallest:
        last = blocks.pop()
        blocks[-1] = blocks[-1].joined(last)
    return blocks
