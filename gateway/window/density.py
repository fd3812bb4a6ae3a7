"""How many tokens a byte of a prompt comes to, learned from what the upstream counted of earlier ones.

The gateway has no tokenizer. A guess should rather be too high: too low ends in a refused call, too high
costs a prompt that is near the limit some of its text. So at first a third of a token is taken for each byte,
and later somewhat more than was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.wire.estimate import PICTURE_TOKENS, text_and_pictures

FIRST = 1 / 3
_FADE = 0.9
_LEAST_SEEN = 2.0
_SPREAD = 2.0
"""Standard deviations above the mean."""
_MARGIN = 1.03
_ESCAPED = 3
"""An escape such as `\\u00e9` takes six bytes for what takes two or three in UTF-8."""


@dataclass(slots=True)
class Density:
    """Tokens a byte of one model's prompts; what was seen fades."""

    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def see(self, size: int, tokens: int) -> None:
        """Note that a prompt of `size` bytes had so many tokens."""
        if size <= 0 or tokens <= 0:
            return
        seen = tokens / size
        self.weight = _FADE * self.weight + 1
        self.total = _FADE * self.total + seen
        self.squares = _FADE * self.squares + seen * seen

    @property
    def upper(self) -> float:
        """Tokens a byte that are rarely exceeded."""
        if self.weight == 0:
            return FIRST
        mean = self.total / self.weight
        spread = math.sqrt(max(0.0, self.squares / self.weight - mean * mean))
        upper = _MARGIN * (mean + _SPREAD * spread)
        return max(FIRST, upper) if self.weight < _LEAST_SEEN else upper


def size_of(body: bytes) -> tuple[int, int]:
    """Return the bytes of text in a body, and the tokens of the pictures in it."""
    size, pictures = text_and_pictures(body)
    return size - _ESCAPED * body.count(b"\\u"), pictures * PICTURE_TOKENS
