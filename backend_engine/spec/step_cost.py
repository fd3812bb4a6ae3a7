"""How long a step of so many tokens takes, learnt from the steps that were measured."""

from __future__ import annotations

import math
from bisect import bisect_right

_SIZES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Where the curve is kept; between them it is straight. Kernels work in tiles, so no formula fits all."""
_TURN = 7
"""Tokens at which computing is guessed to take as long as reading the weights (the CPU kernels: 7)."""
_LOCAL = 0.1
_GLOBAL = 0.03
_MOST_SURPRISE = 1.5
"""A step that took so many times as long as expected was held up by another process."""


class StepCost:
    """Seconds against tokens, for steps that only decode and verify.

    Only ratios count for how much to draft. A surprise moves the whole curve, so that a machine that slows
    changes its shape little, and the larger sizes once more: a size that was never tried must not look cheap
    because those before it turned out dear.
    """

    def __init__(self) -> None:
        self._seconds = [math.cbrt(1 + (size / _TURN) ** 3) for size in _SIZES]
        self._observed = False

    def observe(self, tokens: int, seconds: float) -> None:
        """Note that a step of `tokens` (>= 1) tokens, none of them of a prompt, took `seconds`."""
        surprise = seconds / self.seconds(tokens)
        if not self._observed:
            self._observed = True
            self._seconds = [value * surprise for value in self._seconds]
            return
        surprise = max(1 / _MOST_SURPRISE, min(surprise, _MOST_SURPRISE))
        below, share = _place(tokens)
        here, above = surprise ** (_GLOBAL + _LOCAL * (1 - share)), surprise ** (_GLOBAL + _LOCAL)
        factors = [surprise**_GLOBAL] * below + [here] + [above] * (len(_SIZES) - 1 - below)
        self._seconds = [value * factor for value, factor in zip(self._seconds, factors, strict=True)]

    def seconds(self, tokens: int) -> float:
        """Return the expected time of a step of `tokens` tokens; beyond the last size it stays the same."""
        below, share = _place(tokens)
        low, high = self._seconds[below], self._seconds[below + 1]
        return low + share * (high - low)


def _place(tokens: int) -> tuple[int, float]:
    """Return the size below `tokens`, as an index, and how far on the way to the next one they are."""
    below = min(bisect_right(_SIZES, tokens), len(_SIZES) - 1) - 1
    return below, min(1.0, (tokens - _SIZES[below]) / (_SIZES[below + 1] - _SIZES[below]))
