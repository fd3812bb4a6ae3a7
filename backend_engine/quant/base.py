"""The seam of the linear layers: a layer is a callable, and a format is what makes layers out of weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch

from backend_engine.loading.checkpoint import Checkpoint


class Linear(Protocol):
    """y = x W^T + b in some number format."""

    in_features: int
    out_features: int

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map fp32 `x` [tokens, in_features] to fp32 [tokens, out_features]."""
        ...


class LinearFormat(Protocol):
    """Makes a model's linear layers in one number format."""

    def adapt(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint of the same function that suits this format better, or `checkpoint`."""
        ...

    def linear(self, weights: Iterable[torch.Tensor], bias: torch.Tensor | None = None) -> Linear:
        """Return one layer of the fp32 `weights` [out, in] stacked (q, k and v become one matmul).

        `weights` is consumed one at a time, so that a lazy iterable keeps only one of them in memory.
        """
        ...

    def down_projection(self, weight: torch.Tensor) -> Linear:
        """Return the layer of `weight` [hidden, inner] behind a gated activation, whose outliers are wild."""
        ...

    def embedding(self, table: torch.Tensor) -> torch.Tensor:
        """Return the fp32 `table` [vocab, hidden] in the type in which its rows are looked up."""
        ...
