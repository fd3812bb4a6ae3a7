"""Runs the model over what was scheduled."""

from __future__ import annotations

from collections.abc import Sequence
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

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """Return fp32 logits [logit rows, vocab], in the order of `batch.logit_rows`."""
        ...


class Runner:
    """Owns the decoder."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @torch.inference_mode()
    def run(self, step: Sequence[Scheduled]) -> torch.Tensor:
        """Compute `step` and return the logits [rows, vocab] that it asks for, in the order of `step`.

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
        return self._decoder.forward(pack(pieces, self._decoder.block_size))


def wanted_rows(item: Scheduled) -> range:
    """Return which of `item`'s tokens need logits, counted from its first."""
    request = item.request
    wants_prompt = request.params.prompt_logprobs is not None and not request.num_output_tokens
    if wants_prompt:
        return range(item.num_tokens)
    return range(item.num_tokens - 1, item.num_tokens + len(item.draft)) if item.reaches_end else range(0)
