"""KV pages in the layout of the native kernels (src/kv.h)."""

from __future__ import annotations

import torch

from backend_engine.kv.dtype import TORCH_DTYPES, KVDtype
from backend_engine.model_config import ModelConfig
from backend_engine.native.abi import PagesStruct
from backend_engine.native.huge_memory import HugeMemory

TILE = 16
"""Positions that lie side by side; a KV block is a whole number of tiles."""


class NativePages:
    """Keys [layers, tiles, kv_heads, head_dim, 16] and values [layers, tiles, kv_heads, 16, head_dim]."""

    def __init__(self, config: ModelConfig, num_blocks: int, block_size: int, dtype: KVDtype) -> None:
        self.block_size = block_size
        slots = num_blocks * block_size
        tiles = (config.num_layers, slots // TILE, config.num_kv_heads)
        memory = HugeMemory()
        self.k = memory.zeros((*tiles, config.head_dim, TILE), TORCH_DTYPES[dtype])
        self.v = memory.zeros((*tiles, TILE, config.head_dim), TORCH_DTYPES[dtype])
        scales = tiles if dtype == "int8" else (0,)
        self.k_scales, self.v_scales = (torch.zeros(*scales, TILE) for _ in range(2))
        self.struct = PagesStruct(
            slots=slots,
            bits=8 * self.k.itemsize,
            k=self.k.data_ptr(),
            v=self.v.data_ptr(),
            k_scales=self.k_scales.data_ptr(),
            v_scales=self.v_scales.data_ptr(),
        )

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All that is stored."""
        return self.k, self.v, self.k_scales, self.v_scales
