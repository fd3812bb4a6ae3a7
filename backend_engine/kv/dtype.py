"""The number formats of KV pages."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from backend_engine.model_config import ModelConfig

KVDtype: TypeAlias = Literal["fp16", "int8", "fp32"]

TORCH_DTYPES: dict[KVDtype, torch.dtype] = {
    "fp16": torch.float16,
    "int8": torch.int8,
    "fp32": torch.float32,
}
SCALE_BYTES = 4
"""int8 has an fp32 scale for each vector of a token and head."""
LARGEST_HALF = 65504.0


def kv_bytes_per_token(config: ModelConfig, dtype: KVDtype) -> int:
    """Return the bytes that one token's keys and values take over all layers."""
    vector = config.head_dim * TORCH_DTYPES[dtype].itemsize + (SCALE_BYTES if dtype == "int8" else 0)
    return 2 * config.num_layers * config.num_kv_heads * vector
