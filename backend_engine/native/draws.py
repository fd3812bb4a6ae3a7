"""Draws tokens with the native kernel: a row in a thread, nothing of torch's."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch

from backend_engine.native.abi import DrawStruct
from backend_engine.native.library import Team
from backend_engine.request import Request
from backend_engine.sampling.sampler import uniform


class NativeDraws:
    """Does what `sampling.sampler.draw_in_torch` does, by the same rules; last bits of sums may differ."""

    def __init__(self, team: Team) -> None:
        self._team = team

    def __call__(self, logits: torch.Tensor, rows: Sequence[int], requests: Sequence[Request]) -> list[int]:
        """Draw for `requests` from `rows` of `logits`, fp32 [.., vocab] and contiguous."""
        vocab = logits.shape[1]
        first, step = logits.data_ptr(), vocab * logits.element_size()
        draws = (DrawStruct * len(rows))(
            *(
                DrawStruct(
                    logits=first + row * step,
                    top_k=request.params.top_k,
                    top_p=request.params.top_p,
                    point=uniform(request),
                    temperature=request.params.temperature,
                    min_p=request.params.min_p,
                )
                for row, request in zip(rows, requests, strict=True)
            )
        )
        tokens = (ctypes.c_int64 * len(rows))()
        self._team.library.draw(self._team.handle, draws, len(rows), vocab, tokens)
        return list(tokens)
