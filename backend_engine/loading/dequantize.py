"""GGML tensor types to fp32, by the formulas of ggml's reference; bitwise equal to `gguf.quants.dequantize`.

A quantised row is a run of blocks of 32 values. Q8_0: fp16 scale d, 32 signed bytes. Q4_0: d, 16 bytes
of two nibbles each, of which the low ones are the first 16 values. Q4_1: d and an fp16 minimum m, nibbles.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from gguf.constants import GGMLQuantizationType

_BLOCK = 32


def _halves(blocks: torch.Tensor) -> torch.Tensor:
    return blocks.contiguous().view(torch.float16).float()


def _nibbles(blocks: torch.Tensor) -> torch.Tensor:
    return torch.cat((blocks & 15, blocks >> 4), dim=1).float()


def _q8_0(raw: torch.Tensor) -> torch.Tensor:
    blocks = raw.view(-1, 2 + _BLOCK)
    return blocks[:, 2:].view(torch.int8).float().mul_(_halves(blocks[:, :2]))


def _q4_0(raw: torch.Tensor) -> torch.Tensor:
    blocks = raw.view(-1, 2 + _BLOCK // 2)
    return _nibbles(blocks[:, 2:]).sub_(8).mul_(_halves(blocks[:, :2]))


def _q4_1(raw: torch.Tensor) -> torch.Tensor:
    blocks = raw.view(-1, 4 + _BLOCK // 2)
    return _nibbles(blocks[:, 4:]).mul_(_halves(blocks[:, :2])).add_(_halves(blocks[:, 2:4]))


def _plain(dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    # The copy moves the bytes to an aligned address and off the mapped file.
    return lambda raw: raw.clone().view(dtype).to(torch.float32)


DEQUANTIZE: dict[GGMLQuantizationType, Callable[[torch.Tensor], torch.Tensor]] = {
    GGMLQuantizationType.F32: _plain(torch.float32),
    GGMLQuantizationType.F16: _plain(torch.float16),
    GGMLQuantizationType.BF16: _plain(torch.bfloat16),
    GGMLQuantizationType.Q8_0: _q8_0,
    GGMLQuantizationType.Q4_0: _q4_0,
    GGMLQuantizationType.Q4_1: _q4_1,
}
"""From the contiguous bytes (uint8) of whole rows to fp32 values, in order; the caller knows the shape."""
