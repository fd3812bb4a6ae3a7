"""Runs the model over what was scheduled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from backend_engine.batch import ForwardBatch, Piece, pack
from backend_engine.scheduler import Scheduled


class Decoder(Protocol):
    """A model with its KV pages: from a batch to the logits that it asks for."""

    block_size: int
    """Tokens in one KV block."""
    page_tensors: tuple[torch.Tensor, ...]
    """All that the pages store, each [layers, units, ...] with its units in the order of the blocks."""

    def forward(self, batch: ForwardBatch, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return fp32 logits [logit rows, vocab], in the order of `batch.logit_rows`.

        `features`, fp32 [logit rows, taps, hidden], is filled with the residual stream of the same tokens
        after as many layers as each of the taps says that the decoder was made with.
        """
        ...


@dataclass(frozen=True, slots=True)
class Computed:
    """What a step's model pass gives: `logits` fp32 [rows, vocab], `features` fp32 [rows, taps, hidden]."""

    logits: torch.Tensor
    features: torch.Tensor | None


class Runner:
    """Owns the decoder."""

    def __init__(self, decoder: Decoder, features: tuple[int, int] | None = None) -> None:
        """`features`: how many taps the decoder has, and their width; None if nobody looks at them."""
        self._decoder = decoder
        self._features = features

    @torch.inference_mode()
    def run(self, step: Sequence[Scheduled]) -> Computed:
        """Compute `step` and return the rows that it asks for, in the order of `step`.

        An item that reaches its request's end contributes its last row and one for each drafted token;
        every row if the request wants log-probabilities of its prompt (see `wanted_rows`).
        """
        pieces = [
            Piece(
                token_ids=[*item.request.token_ids[first : first + item.num_tokens], *item.draft],
                first=first,
                block_table=item.request.block_table,
                logit_rows=wanted_rows(item),
            )
            for item in step
            for first in (item.request.num_computed,)
        ]
        batch = pack(pieces, self._decoder.block_size)
        features = None
        if self._features is not None:
            features = torch.empty(len(batch.logit_rows), *self._features)
        return Computed(self._decoder.forward(batch, features), features)


def wanted_rows(item: Scheduled) -> range:
    """Return which of `item`'s tokens need logits, counted from its first."""
    request = item.request
    wants_prompt = request.params.prompt_logprobs is not None and not request.num_output_tokens
    if wants_prompt:
        return range(item.num_tokens)
    return range(item.num_tokens - 1, item.num_tokens + len(item.draft)) if item.reaches_end else range(0)
