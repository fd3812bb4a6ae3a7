"""The seam of the linear layers: a layer is a callable, and a format is what makes layers out of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import torch

from backend_engine.loading.weights import Matrix

Quantization: TypeAlias = Literal["auto", "int8", "int4", "none"]
"""Weights: a file's own blocks of 4 or 8 bits, else int8; int8; int4 with int8 tables; fp32."""


class Linear(Protocol):
    """y = x W^T + b in some number format."""

    in_features: int
    out_features: int

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map fp32 `x` [tokens, in_features] to fp32 [tokens, out_features]."""
        ...


class Table(Linear, Protocol):
    """A linear layer whose rows can be looked up: an embedding, which may be the head as well."""

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return rows `ids` of W in fp32 [ids, in_features]."""
        ...


class LinearFormat(Protocol):
    """Makes a model's linear layers in one number format."""

    def linear(self, parts: Sequence[Matrix], bias: torch.Tensor | None = None) -> Linear:
        """Return one layer of matrices of equal width, stacked (q, k and v become one matmul)."""
        ...

    def table(self, matrix: Matrix) -> Table:
        """Return the layer of an embedding."""
        ...
