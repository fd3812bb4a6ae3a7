"""Paged attention in plain torch: gather the pages of each sequence, then scaled dot-product attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from backend_engine.attention.base import AttentionBackend
from backend_engine.attention.stored_vectors import StoredVectors
from backend_engine.batch import ForwardBatch
from backend_engine.kv.dtype import KVDtype
from backend_engine.model_config import ModelConfig


class TorchKVPages:
    """Keys and values of all layers, [slots, kv_heads, head_dim] for each layer."""

    def __init__(self, config: ModelConfig, num_blocks: int, block_size: int, dtype: KVDtype) -> None:
        self.block_size = block_size
        shape = (config.num_layers, num_blocks * block_size, config.num_kv_heads, config.head_dim)
        self.k, self.v = StoredVectors(shape, dtype), StoredVectors(shape, dtype)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All that is stored."""
        return *self.k.tensors, *self.v.tensors

    def prepare(self, batch: ForwardBatch) -> AttentionBackend:
        """Sort the batch's sequences into single-token rows, attended together, and longer chunks."""
        singles: list[int] = []
        chunks: list[_Chunk] = []
        for index, (start, end) in enumerate(zip(batch.query_starts, batch.query_starts[1:], strict=False)):
            if end - start == 1:
                singles.append(index)
            else:
                chunks.append(_Chunk.of(batch, index, self._context_slots(batch, [index])[0]))
        return _PreparedAttention(self, _Singles.of(self, batch, singles) if singles else None, chunks)

    def _context_slots(self, batch: ForwardBatch, sequences: list[int]) -> torch.Tensor:
        """Return the slots of the sequences' contexts, int64 [sequences, longest], short rows padded."""
        longest = max(batch.context_lengths[index] for index in sequences)
        tables = batch.block_tables[sequences, : -(-longest // self.block_size)]
        slots = tables.unsqueeze(-1) * self.block_size + torch.arange(self.block_size)
        return slots.flatten(1)[:, :longest]


@dataclass(frozen=True, slots=True)
class _Singles:
    """Sequences with one new token each."""

    rows: torch.Tensor
    slots: torch.Tensor
    mask: torch.Tensor | None
    """bool [sequences, 1, 1, longest], None if all contexts are equally long."""

    @classmethod
    def of(cls, pages: TorchKVPages, batch: ForwardBatch, sequences: list[int]) -> _Singles:
        rows = torch.tensor([batch.query_starts[index] for index in sequences])
        lengths = torch.tensor([batch.context_lengths[index] for index in sequences])
        slots = pages._context_slots(batch, sequences)
        mask = None
        if bool((lengths != lengths[0]).any()):
            mask = (torch.arange(slots.shape[1]) < lengths.unsqueeze(1))[:, None, None]
        return cls(rows, slots, mask)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A sequence with several new tokens."""

    rows: slice
    slots: torch.Tensor
    mask: torch.Tensor | None
    """bool [queries, context], None if the chunk is the whole context and plainly causal."""

    @classmethod
    def of(cls, batch: ForwardBatch, index: int, slots: torch.Tensor) -> _Chunk:
        rows = slice(batch.query_starts[index], batch.query_starts[index + 1])
        context = batch.context_lengths[index]
        if rows.stop - rows.start == context:
            return cls(rows, slots, None)
        mask = torch.arange(context) <= batch.positions[rows].unsqueeze(1)
        return cls(rows, slots, mask)


@dataclass(frozen=True, slots=True)
class _PreparedAttention:
    pages: TorchKVPages
    singles: _Singles | None
    chunks: list[_Chunk]

    def write_kv(self, layer: int, k: torch.Tensor, v: torch.Tensor, batch: ForwardBatch) -> None:
        self.pages.k.write(layer, batch.slots, k)
        self.pages.v.write(layer, batch.slots, v)

    def forward(self, layer: int, q: torch.Tensor, batch: ForwardBatch) -> torch.Tensor:
        keys, values = self.pages.k, self.pages.v
        out = torch.empty_like(q)
        heads, kv_heads, head_dim = q.shape[1], keys.num_heads, q.shape[2]
        if self.singles is not None:
            rows, slots, mask = self.singles.rows, self.singles.slots, self.singles.mask
            # The query heads of one KV head stand in for query positions: they see the same keys.
            grouped = q[rows].view(len(rows), kv_heads, heads // kv_heads, head_dim)
            k = keys.read(layer, slots).transpose(1, 2)
            v = values.read(layer, slots).transpose(1, 2)
            out[rows] = F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(
                -1, heads, head_dim
            )
        for chunk in self.chunks:
            k = keys.read(layer, chunk.slots).transpose(0, 1)
            v = values.read(layer, chunk.slots).transpose(0, 1)
            attended = F.scaled_dot_product_attention(
                q[chunk.rows].transpose(0, 1).unsqueeze(0),
                k.unsqueeze(0),
                v.unsqueeze(0),
                attn_mask=chunk.mask,
                is_causal=chunk.mask is None,
                enable_gqa=heads != kv_heads,
            )
            out[chunk.rows] = attended[0].transpose(0, 1)
        return out
