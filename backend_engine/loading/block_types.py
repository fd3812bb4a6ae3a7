"""GGML's quantised rows as our block weights: the same numbers, laid out for products.

Bytes of a block of 32. Q8_0: fp16 scale d, 32 signed bytes. Q4_0: d, 16 bytes of two nibbles each, of which
the low ones are the first 16 values. Q4_1: d, an fp16 minimum, nibbles.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from gguf.constants import GGMLQuantizationType

from backend_engine.quant.blocks import BLOCK, OFFSET, BlockWeights


def _halves(raw: torch.Tensor) -> torch.Tensor:
    return raw.contiguous().view(torch.float16).squeeze(-1)


def _nibbles(raw: torch.Tensor) -> torch.Tensor:
    return torch.cat((raw & 15, raw >> 4), dim=-1)


def _q8_0(raw: torch.Tensor) -> BlockWeights | None:
    blocks = raw.view(len(raw), -1, 2 + BLOCK)
    # Adding 128 modulo 256. The code 0, a value of -128, is one that products do not allow for.
    codes = blocks[..., 2:] ^ OFFSET
    return None if bool((codes == 0).any()) else BlockWeights(codes, _halves(blocks[..., :2]), None)


def _q4_0(raw: torch.Tensor) -> BlockWeights:
    blocks = raw.view(len(raw), -1, 2 + BLOCK // 2)
    scales = _halves(blocks[..., :2])
    return BlockWeights(_nibbles(blocks[..., 2:]), scales, scales * -8)


def _q4_1(raw: torch.Tensor) -> BlockWeights:
    blocks = raw.view(len(raw), -1, 4 + BLOCK // 2)
    return BlockWeights(_nibbles(blocks[..., 4:]), _halves(blocks[..., :2]), _halves(blocks[..., 2:4]))


BLOCK_TYPES: dict[GGMLQuantizationType, Callable[[torch.Tensor], BlockWeights | None]] = {
    GGMLQuantizationType.Q8_0: _q8_0,
    GGMLQuantizationType.Q4_0: _q4_0,
    GGMLQuantizationType.Q4_1: _q4_1,
}
"""From the bytes of whole rows, uint8 [rows, row bytes]; None for values that do not fit."""
