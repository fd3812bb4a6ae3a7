"""What one more token costs a step, from the steps that were measured: a line, seconds against tokens."""

from __future__ import annotations

_MEMORY = 0.98
"""Share of its weight that a step keeps with each step after it: about fifty count."""
_PRIOR_SHARE = 0.05
"""What a token adds to a step, in steps, as long as steps of different sizes have not been seen."""
_PRIOR_WEIGHT = 4.0
"""Squared tokens of spread in the measured steps that count as much as the prior."""
_LEAST_SHARE = 0.005
_MOST_DELAY = 1.5
"""A step that takes longer than so many times the expected was held up by another process."""


class StepCost:
    """A line through the latest steps, fitted by least squares with weights that decay.

    `StepTime` knows contexts and prompts as well, but takes milliseconds to fit. Here the steps are those
    that only decode, and the line is looked at in every one of them.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._tokens = 0.0
        self._seconds = 0.0
        self._spread = 0.0
        self._product = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """Note that a step without prompts computed `tokens` tokens in `seconds`."""
        if self._weight > 4:
            expected, _ = self.at(tokens)
            seconds = min(seconds, _MOST_DELAY * expected)
        # Weighted means and central moments, updated in place (West 1979).
        self._weight = _MEMORY * self._weight + 1
        share = 1 / self._weight
        x, y = tokens - self._tokens, seconds - self._seconds
        self._tokens += share * x
        self._seconds += share * y
        self._spread = (1 - share) * (self._spread + share * x * x)
        self._product = (1 - share) * (self._product + share * x * y)

    def at(self, tokens: int) -> tuple[float, float]:
        """Return the seconds of a step of `tokens` tokens and what each further token adds to it."""
        if not self._weight:
            return 1.0, _PRIOR_SHARE
        slope = (self._product + _PRIOR_WEIGHT * _PRIOR_SHARE * self._seconds) / (
            self._spread + _PRIOR_WEIGHT
        )
        slope = max(slope, _LEAST_SHARE * self._seconds)
        # Far from what was measured the line may fall below what so many tokens must cost.
        return max(self._seconds + slope * (tokens - self._tokens), slope * tokens), slope
