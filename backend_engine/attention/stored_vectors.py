"""Keys or values as they are kept: fp32, fp16, or int8 with a scale for each token and head."""

from __future__ import annotations

import torch

from backend_engine.kv.dtype import LARGEST_HALF, TORCH_DTYPES, KVDtype

_LEVELS = 127


class StoredVectors:
    """Vectors [layers, slots, kv_heads, head_dim], written and read in fp32."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: KVDtype) -> None:
        self.num_heads = shape[2]
        self.data = torch.zeros(shape, dtype=TORCH_DTYPES[dtype])
        self.scales = torch.zeros(*shape[:3], 1) if dtype == "int8" else None

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All that is stored."""
        return (self.data,) if self.scales is None else (self.data, self.scales)

    def write(self, layer: int, slots: torch.Tensor, vectors: torch.Tensor) -> None:
        """Store `vectors` [tokens, kv_heads, head_dim] at int64 `slots` [tokens]."""
        if self.scales is not None:
            most = vectors.abs().amax(-1, keepdim=True)
            self.scales[layer].index_copy_(0, slots, most / _LEVELS)
            vectors = (vectors * torch.where(most > 0, _LEVELS / most, 0.0)).round_()
        elif self.data.dtype == torch.float16:
            vectors = vectors.clamp(-LARGEST_HALF, LARGEST_HALF)
        self.data[layer].index_copy_(0, slots, vectors.to(self.data.dtype))

    def read(self, layer: int, slots: torch.Tensor) -> torch.Tensor:
        """Return the vectors at `slots` (any shape), fp32 [*slots, kv_heads, head_dim]."""
        vectors = self.data[layer][slots].float()
        return vectors if self.scales is None else vectors.mul_(self.scales[layer][slots])
