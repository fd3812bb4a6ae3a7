"""A checkpoint's matrices and vectors, checked against its config as they are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from backend_engine.errors import CheckpointError
from backend_engine.loading.checkpoint import Checkpoint
from backend_engine.quant.blocks import BlockWeights


@dataclass(frozen=True, slots=True)
class Matrix:
    """One weight [rows, columns] that is read when it is wanted, in fp32 or as the file's own blocks."""

    checkpoint: Checkpoint
    name: str
    rows: int
    columns: int

    def read(self) -> torch.Tensor:
        """Return it in fp32; raises CheckpointError if it is missing or of another shape."""
        return read(self.checkpoint, self.name, self.rows, self.columns)

    def blocks(self) -> BlockWeights | None:
        """Return its blocks as they are in the file, None if it has other numbers there."""
        blocks = self.checkpoint.source.blocks(self.name)
        if blocks is not None:
            codes = blocks.codes
            _check(self.name, (codes.shape[0], codes.shape[1] * codes.shape[2]), (self.rows, self.columns))
        return blocks


def read(checkpoint: Checkpoint, name: str, *shape: int) -> torch.Tensor:
    """Return tensor `name` in fp32; raises CheckpointError if it is missing or not of `shape`."""
    tensor = checkpoint.tensor(name)
    _check(name, tuple(tensor.shape), shape)
    return tensor


def _check(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise CheckpointError(f"tensor {name} is {found}, the config says {expected}")
