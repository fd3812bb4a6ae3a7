"""Drafts from what the target has computed already: a small head on its residual stream, trained for it.

The target's features at a sequence's last computed token hold most of what it will say next; the head takes
them and the tokens drafted so far, looks at no context and has no KV. So prefix hits, chunks, preemption and
rejected drafts need no care, and a draft costs a pass over a few megabytes for each of its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from backend_engine.request import Request
from backend_engine.spec.base import Draft, Want

LEAST_CONFIDENCE = 0.15
"""A draft ends before the token with which its head gives all of it less: drafting costs a pass a token."""
MOST_ROWS = 4
"""Sequences beyond which nothing is drafted: with a draft each, a step would be bound by computing."""


class DraftHead(Protocol):
    """Runs the head; see `native.draft_head.NativeDraftHead`."""

    taps: tuple[int, ...]

    def draft(
        self, features: torch.Tensor, last_tokens: list[int], limits: list[int], least_confidence: float
    ) -> list[tuple[list[int], list[float]]]:
        """Return the tokens of a draft for each row, and the share that the head gives each."""
        ...


class HeadDrafter:
    """Keeps the latest features of each running sequence and drafts from them."""

    def __init__(self, head: DraftHead) -> None:
        self.taps = head.taps
        self._head = head
        self._features: dict[Request, tuple[torch.Tensor, int]] = {}
        """A step's features, and the request's row of them: few are looked at, so none is cut out before."""

    def see(self, requests: Sequence[Request], features: torch.Tensor) -> None:
        for row, request in enumerate(requests):
            self._features[request] = features, row

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        if len(wants) > MOST_ROWS:
            return [[] for _ in wants]
        found = self._head.draft(
            torch.stack(
                [features[row] for features, row in (self._features[want.request] for want in wants)]
            ),
            [want.request.token_ids[-1] for want in wants],
            [want.limit for want in wants],
            LEAST_CONFIDENCE,
        )
        return [
            [Draft(tuple(tokens), shares=tuple(shares), source="model")] if tokens else []
            for tokens, shares in found
        ]

    def finished(self, request: Request) -> None:
        self._features.pop(request, None)
