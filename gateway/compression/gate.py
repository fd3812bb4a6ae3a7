"""Says for each conversation whether mode `auto` may drop something, and keeps to it.

Whether answers grow can only be seen where both is done, so some conversations are not treated as would seem
best: every second one until enough was seen, afterwards few. Where it is only the growth of answers that
speaks against compressing, few are compressed all the same, lest a chance of the first ones decides for ever.
"""

from __future__ import annotations

from gateway.compression.economics import Economics
from gateway.compression.remembered import Remembered
from gateway.config.schema import Price

WHOLE = 16
"""One conversation in so many is left whole although compressing pays."""
TRIED = 64
"""One in so many is compressed although answers were seen to grow too much."""


class Gate:
    """The decisions of one worker."""

    def __init__(self, economics: Economics) -> None:
        self._economics = economics
        self._decided: Remembered[bool] = Remembered()

    def drops(self, conversation: bytes, upstream: str, model: str, price: Price | None, tokens: int) -> bool:
        """Return whether `tokens` tokens of a conversation may be compressed; the first answer holds."""
        return self._decided.once(
            conversation, lambda: self._decide(conversation[0], upstream, model, price, tokens)
        )

    def _decide(self, draw: int, upstream: str, model: str, price: Price | None, tokens: int) -> bool:
        gain = self._economics.gain(upstream, model, price, tokens)
        if gain.pays:
            every = WHOLE if self._economics.knows_growth(upstream, model) else 2
            return draw % every != 0
        return gain.shorter > 0 and draw % TRIED == 0
