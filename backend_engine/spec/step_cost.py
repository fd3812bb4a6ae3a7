"""How long a step of so many tokens takes, learnt from the steps that were measured."""

from __future__ import annotations

import math
from bisect import bisect_right

_SIZES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Where the curve is kept; between them it is straight. Kernels work in tiles, so no formula fits all."""
_GUESSED_SHARE = 0.05
"""What each token after the first is taken to add to a step before any was measured."""
_LOCAL = 0.1
_GLOBAL = 0.03
_MOST_SURPRISE = math.log(1.5)
"""A step that took longer was held up by another process."""


class StepCost:
    """Seconds against tokens, for steps that only decode and verify.

    Only ratios count for how much to draft. A surprise moves the whole curve, so that a machine that slows
    changes its shape little, and the larger sizes once more: a size that was never tried must not look cheap
    because those before it turned out dear.
    """

    def __init__(self) -> None:
        self._logs = [math.log1p(_GUESSED_SHARE * (size - 1)) for size in _SIZES]
        self._observed = False

    def observe(self, tokens: int, seconds: float) -> None:
        """Note that a step of `tokens` (>= 1) tokens, none of them of a prompt, took `seconds`."""
        surprise = math.log(seconds / self.seconds(tokens))
        if not self._observed:
            self._observed = True
            self._logs = [value + surprise for value in self._logs]
            return
        surprise = max(-_MOST_SURPRISE, min(surprise, _MOST_SURPRISE))
        below, share = _place(tokens)
        self._logs = [value + _GLOBAL * surprise for value in self._logs]
        self._logs[below] += _LOCAL * (1 - share) * surprise
        for above in range(below + 1, len(_SIZES)):
            self._logs[above] += _LOCAL * surprise

    def seconds(self, tokens: int) -> float:
        """Return the expected time of a step of `tokens` tokens; beyond the last size it stays the same."""
        below, share = _place(tokens)
        low, high = math.exp(self._logs[below]), math.exp(self._logs[below + 1])
        return low + share * (high - low)


def _place(tokens: int) -> tuple[int, float]:
    """Return the size below `tokens`, as an index, and how far on the way to the next one they are."""
    below = min(bisect_right(_SIZES, tokens), len(_SIZES) - 1) - 1
    return below, min(1.0, (tokens - _SIZES[below]) / (_SIZES[below + 1] - _SIZES[below]))
