"""Weights as they are: the reference that every other format is measured against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from backend_engine.loading.weights import Matrix


class Fp32Linear:
    """A matmul in fp32. The last bits of a row may depend on how many rows come with it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.out_features, self.in_features = weight.shape
        self._weight = weight
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight, self._bias)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return rows `ids` of the weights, fp32 [ids, in_features]."""
        return self._weight[ids]


class Fp32Format:
    """Keeps weights and embeddings in fp32."""

    def linear(self, parts: Sequence[Matrix], bias: torch.Tensor | None = None) -> Fp32Linear:
        return Fp32Linear(torch.cat([part.read() for part in parts]), bias)

    def table(self, matrix: Matrix) -> Fp32Linear:
        return Fp32Linear(matrix.read())
