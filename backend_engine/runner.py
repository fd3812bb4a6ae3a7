"""Runs the model over what was scheduled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from backend_engine.batch import ForwardBatch, Piece, pack
from backend_engine.request import Request
from backend_engine.sampling.sampler import takes_best
from backend_engine.scheduler import Scheduled


class Decoder(Protocol):
    """A model with its KV pages: from a batch to the logits that it asks for."""

    block_size: int
    """Tokens in one KV block."""
    page_tensors: tuple[torch.Tensor, ...]
    """All that the pages store, each [layers, units, ...] with its units in the order of the blocks."""

    def forward(self, batch: ForwardBatch, best: npt.NDArray[np.int64] | None = None) -> torch.Tensor:
        """Return fp32 logits [rows, vocab] of `batch.logit_rows`, in their order, less `batch.best_only`.

        `best`, int64 [logit rows], is filled with every row's likeliest token, the lowest id among equals.
        """
        ...


@dataclass(frozen=True, slots=True)
class Computed:
    """What a step's model pass gives for each row that was asked for, in the order of the step.

    `best` has every row's likeliest token; `logits` are fp32 [rows that want them, vocab], row i's in
    `places[i]`.
    """

    best: list[int]
    logits: torch.Tensor
    places: list[int]

    def logits_of(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the logits [rows, vocab] of `rows`, all of which want them."""
        places = [self.places[row] for row in rows]
        # Copied only where it is another selection.
        return self.logits if places == list(range(len(self.logits))) else self.logits[places]


class Runner:
    """Owns the decoder."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @torch.inference_mode()
    def run(self, step: Sequence[Scheduled]) -> Computed:
        """Compute `step` and return the rows that it asks for.

        An item that reaches its request's end contributes its last row and one for each drafted token;
        every row if the request wants log-probabilities of its prompt (see `wanted_rows`).
        """
        pieces = [
            Piece(
                token_ids=[*item.request.token_ids[first : first + item.num_tokens], *item.draft],
                first=first,
                block_table=item.request.block_table,
                logit_rows=wanted_rows(item),
                best_only=not reads_logits(item),
            )
            for item in step
            for first in (item.request.num_computed,)
        ]
        batch = pack(pieces, self._decoder.block_size)
        best = np.empty(len(batch.logit_rows), dtype=np.int64)
        logits = self._decoder.forward(batch, best)
        return Computed(best.tolist(), logits, batch.logit_places)


def reads_logits(item: Scheduled) -> bool:
    """Tell whether `item`'s rows are read for more than their likeliest token.

    It stays so, or becomes less, as the tokens of a draft are accepted.
    """
    request = item.request
    return _wants_prompt(request) or request.params.logprobs is not None or not takes_best(request)


def wanted_rows(item: Scheduled) -> range:
    """Return which of `item`'s tokens need logits, counted from its first."""
    if _wants_prompt(item.request):
        return range(item.num_tokens)
    return range(item.num_tokens - 1, item.num_tokens + len(item.draft)) if item.reaches_end else range(0)


def _wants_prompt(request: Request) -> bool:
    return request.params.prompt_logprobs is not None and not request.num_output_tokens
