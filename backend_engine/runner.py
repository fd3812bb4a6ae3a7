"""Packs scheduled tokens into one batch and runs the model over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from backend_engine.batch import ForwardBatch
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
        return self._decoder.forward(self.pack(step))

    def pack(self, step: Sequence[Scheduled]) -> ForwardBatch:
        """Lay the tokens of `step` one after another."""
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        starts = [0]
        contexts: list[int] = []
        logit_rows: list[int] = []
        size = self._decoder.block_size
        for item in step:
            request, first = item.request, item.request.num_computed
            end = first + item.num_tokens + len(item.draft)
            logit_rows += [len(token_ids) + row for row in wanted_rows(item)]
            token_ids += request.token_ids[first : first + item.num_tokens]
            token_ids += item.draft
            positions += range(first, end)
            table = request.block_table
            slots += [table[at // size] * size + at % size for at in range(first, end)]
            starts.append(len(token_ids))
            contexts.append(end)
        widest = max(len(item.request.block_table) for item in step)
        tables = [item.request.block_table + [0] * (widest - len(item.request.block_table)) for item in step]
        return ForwardBatch(
            token_ids=torch.tensor(token_ids),
            positions=torch.tensor(positions),
            slots=torch.tensor(slots),
            query_starts=tuple(starts),
            context_lengths=tuple(contexts),
            block_tables=torch.tensor(tables),
            logit_rows=torch.tensor(logit_rows, dtype=torch.int64),
        )


def wanted_rows(item: Scheduled) -> range:
    """Return which of `item`'s tokens need logits, counted from its first."""
    request = item.request
    wants_prompt = request.params.prompt_logprobs is not None and not request.num_output_tokens
    if wants_prompt:
        return range(item.num_tokens)
    return range(item.num_tokens - 1, item.num_tokens + len(item.draft)) if item.reaches_end else range(0)
