"""Prompt lookup: what followed the last few tokens when they stood in this sequence before.

Source: Saxena, Prompt Lookup Decoding (2023); vLLM's `ngram` method.
"""

from __future__ import annotations

from collections.abc import Sequence

from backend_engine.request import Request
from backend_engine.spec.base import Draft, TextDrafter, Want

SIZES = (5, 4, 3, 2)
"""Lengths of the n-grams that are looked up, the best founded first."""


class NgramDrafter(TextDrafter):
    """Looks up the latest earlier place of the last tokens; an index grows with each sequence."""

    def __init__(self) -> None:
        self._indexes: dict[Request, _Index] = {}

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        return [self._propose(want.request, want.limit) for want in wants]

    def finished(self, request: Request) -> None:
        self._indexes.pop(request, None)

    def _propose(self, request: Request, limit: int) -> list[Draft]:
        index = self._indexes.get(request)
        if index is None:
            index = self._indexes[request] = _Index()
        tokens = request.token_ids
        index.extend(tokens)
        for size in SIZES:
            after = index.ends.get(tuple(tokens[-size:]))
            if after is not None and len(tokens) >= size:
                return [Draft(tuple(tokens[after : after + limit]), size)]
        return []


class _Index:
    """Where the token after each n-gram stands; of several places the latest."""

    def __init__(self) -> None:
        self.ends: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    def extend(self, tokens: list[int]) -> None:
        """Take in all n-grams that have a token after them."""
        for end in range(max(1, self._indexed), len(tokens)):
            for size in SIZES:
                if end >= size:
                    self.ends[tuple(tokens[end - size : end])] = end
        self._indexed = len(tokens)
