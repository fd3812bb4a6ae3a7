"""Keeps one sequence inside its grammar: which tokens may come, what has come, and when it must close."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from backend_engine.structured.closing import way_out
from backend_engine.structured.vocabulary import Vocabulary

# A search that finds nothing walks as far as it may: it is not repeated for every token.
_TOKENS_BETWEEN_SEARCHES = 16

Mask = NDArray[np.int32]
"""One bit a token, set if it may come next: int32 [words] or [rows, words], lowest bit first."""


class Guide:
    """The state of one sequence's grammar, advanced by its output tokens alone.

    It belongs to the thread that samples. Preemption does not touch it: the tokens stay, only their KV is
    computed again.
    """

    def __init__(self, start: LLMatcher, vocabulary: Vocabulary, *, horizon: int) -> None:
        """Begin at `start`, which stays as it is.

        `horizon` is how many tokens before the limit a way to the end is first looked for.
        """
        self.vocabulary = vocabulary
        self.accepted: list[int] = []
        self._matcher = start.deep_copy()
        self._horizon = horizon
        self._next_search = horizon
        self._way_out: list[int] | None = None

    @property
    def is_complete(self) -> bool:
        """The text satisfies the grammar and cannot go on."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    @property
    def error(self) -> str:
        """Why the library gave this grammar up, "" while all is well; only end tokens are allowed then."""
        return str(self._matcher.get_error()).partition("\n")[0] if self._matcher.is_error() else ""

    def accept(self, tokens: Sequence[int]) -> int:
        """Advance by the leading `tokens` that the grammar allows, and return how many those are."""
        count: int = self._matcher.try_consume_tokens(list(tokens))
        self.accepted += tokens[:count]
        return count

    def num_allowed(self, drafted: Sequence[int]) -> int:
        """Return how many of the leading `drafted` tokens the grammar allows; the guide stays where it is."""
        count: int = self._matcher.deep_copy().try_consume_tokens(list(drafted))
        return count

    def mask(self) -> Mask:
        """Return the mask [words] of the next token."""
        out = np.zeros(self.vocabulary.num_mask_words, dtype=np.int32)
        self.fill_mask(out)
        return out

    def fill_mask(self, out: Mask) -> None:
        """Write the mask of the next token into `out` [words], C-contiguous."""
        self._matcher.unsafe_compute_mask_ptr(out.ctypes.data, out.nbytes)

    def choose(self, token: int, tokens_left: int) -> int:
        """Advance by `token`, which was sampled under the mask, or by another one if it must close now.

        `tokens_left` counts the tokens that the limit still allows, this one included. Within the horizon
        a way to the end that fits is always at hand: a token after which none fits is not taken, the way's
        own first token is. So a grammar that can be closed in time is.
        """
        way = self._way_out
        if tokens_left > self._horizon:
            self.accept([token])
            return token
        if way is None and tokens_left <= self._next_search:
            way = way_out(self._matcher, self.vocabulary, tokens_left)
            self._next_search = tokens_left - _TOKENS_BETWEEN_SEARCHES
        before = self._matcher.deep_copy()
        self.accept([token])
        after = None if way is None else self._after(way, token, tokens_left - 1)
        if after is None and way and not self.error:
            self._matcher = before
            token, *after = way
            self.accepted[-1] = token
            self._matcher.consume_token(token)
        self._way_out = after
        return token

    def _after(self, way: list[int], token: int, limit: int) -> list[int] | None:
        """Return a way of at most `limit` tokens from the present state, given the one before `token`."""
        if self._matcher.is_stopped():
            return []
        if way and way[0] == token:
            return way[1:]
        # Most tokens stand inside a string, and what closed it before still does: far cheaper than a walk.
        if len(way) <= limit:
            ending = [*way, self.vocabulary.end_ids[0]]
            if self._matcher.validate_tokens(ending) == len(ending):
                return way
        return way_out(self._matcher, self.vocabulary, limit)
