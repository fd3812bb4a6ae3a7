"""The compressor as a strategy: whole sentences, lines and records of a text, as many as fit."""

from __future__ import annotations

from functools import partial

from gateway.compression.compress import MAX_CHARS, compress_text
from gateway.compression.mode import LARGEST_RATIO
from gateway.window.aside import Aside
from gateway.window.base import CannotShorten, Means, Overlong

SMALL_RATIO = 4.0
"""Up to this, of 100 answers 99 are still in what stays (docs/compression.md)."""
_TRIES = 3
_LEAST_USED = 8
"""A result of less than this part of the budget: what the text consists of is too large to be chosen from."""


class Compressed:
    """Leaves out what has least to do with the question."""

    name = "compress"

    def __init__(self, most: float = LARGEST_RATIO) -> None:
        """`most` is how many times smaller a text may become."""
        self._most = most

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        text, budget = overlong.text, overlong.budget
        ratio = means.count(text) / max(1, budget)
        if ratio > self._most:
            raise CannotShorten(f"it would have to become {ratio:.1f} times smaller")
        if not overlong.question.strip():
            raise CannotShorten("there is no question to choose by")
        if len(text) > MAX_CHARS:
            raise CannotShorten(f"more than {MAX_CHARS} characters")
        apart = Aside()
        rank = apart.asking(means.rank)
        for _ in range(_TRIES):
            work = partial(compress_text, text, overlong.question, ratio, rank=rank)
            shorter = await apart.run(len(text), work)
            if (size := means.count(shorter)) <= budget:
                if size * _LEAST_USED < budget:
                    break
                return shorter
            ratio *= 1.05 * size / max(1, budget)
        raise CannotShorten("too little of it can be left out")
