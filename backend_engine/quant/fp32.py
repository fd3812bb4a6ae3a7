"""Weights as they are: the reference that every other format is measured against."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F

from backend_engine.loading.checkpoint import Checkpoint


class Fp32Linear:
    """A matmul in fp32. The last bits of a row may depend on how many rows come with it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.out_features, self.in_features = weight.shape
        self._weight = weight
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight, self._bias)


class Fp32Format:
    """Keeps weights and embeddings in fp32; a tied head shares the embedding's memory."""

    def adapt(self, checkpoint: Checkpoint) -> Checkpoint:
        return checkpoint

    def linear(self, weights: Iterable[torch.Tensor], bias: torch.Tensor | None = None) -> Fp32Linear:
        parts = list(weights)
        return Fp32Linear(parts[0] if len(parts) == 1 else torch.cat(parts), bias)

    def down_projection(self, weight: torch.Tensor) -> Fp32Linear:
        return Fp32Linear(weight)

    def embedding(self, table: torch.Tensor) -> torch.Tensor:
        return table
