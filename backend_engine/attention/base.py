"""The attention seam: pages of KV that outlive steps, and the view of them that one step works with."""

from __future__ import annotations

from typing import Protocol

import torch

from backend_engine.batch import ForwardBatch


class AttentionBackend(Protocol):
    """Causal grouped-query attention over paged KV, prepared for one batch."""

    def write_kv(self, layer: int, k: torch.Tensor, v: torch.Tensor, batch: ForwardBatch) -> None:
        """Store `k` and `v` [tokens, kv_heads, head_dim] (k already rotated) at `batch.slots`."""
        ...

    def forward(self, layer: int, q: torch.Tensor, batch: ForwardBatch) -> torch.Tensor:
        """Attend with `q` [tokens, heads, head_dim] over the written pages; same shape back.

        Scores are scaled by 1/sqrt(head_dim). Row r of a sequence sees that sequence's tokens up to
        its own position, all of which must have been written by `write_kv`.
        """
        ...


class KVPages(Protocol):
    """The KV memory of all layers."""

    block_size: int

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All that is stored, each [layers, units, ...] with its units in the order of the blocks."""
        ...

    def prepare(self, batch: ForwardBatch) -> AttentionBackend:
        """Compute once what every layer of this step shares (gather indices, masks)."""
        ...
