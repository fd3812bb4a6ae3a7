"""Weights in blocks of 32 inputs, of four or eight bits, with a scale for each block and output.

Four bits: code * scale + minimum, codes 0 to 15. Eight bits: (code - 128) * scale, codes 1 to 255. These are
GGML's Q4_1 and Q8_0 with another offset, and Q4_0 is Q4_1 with minimum = -8 * scale: a file's own blocks are
kept as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

BLOCK = 32
OFFSET = 128
_LEVELS = 127
_NIBBLE = 15
_SMALLEST = 2.0**-24
"""The smallest fp16 above 0: a block of zeros, or of smaller numbers yet, has this scale."""


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """A matrix [out, in]; `in_features` is padded to whole blocks with inputs whose activations are 0.

    codes: uint8 [out, blocks, 32]; scales: fp16 [out, blocks]; minimums: the same, None with eight bits.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    minimums: torch.Tensor | None

    @property
    def bits(self) -> int:
        return 8 if self.minimums is None else 4

    def dequantize(self, rows: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Return the weights of `rows`, all by default, fp32 [rows, padded in]."""
        codes, scales = self.codes[rows].float(), self.scales[rows].float().unsqueeze(-1)
        if self.minimums is None:
            return codes.sub_(OFFSET).mul_(scales).flatten(1)
        return codes.mul_(scales).add_(self.minimums[rows].float().unsqueeze(-1)).flatten(1)


def round_to_eight_bits(weight: torch.Tensor) -> BlockWeights:
    """Round fp32 `weight` [out, in] symmetrically, absmax / 127 in each block."""
    blocks = _blocks(weight)
    scales = blocks.abs().amax(-1).div_(_LEVELS).clamp_(min=_SMALLEST).half()
    codes = (blocks / scales.float().unsqueeze(-1)).round_().clamp_(-_LEVELS, _LEVELS)
    return BlockWeights(codes.add_(OFFSET).to(torch.uint8), scales, None)


def round_to_four_bits(weight: torch.Tensor) -> BlockWeights:
    """Round fp32 `weight` [out, in] to 16 levels from the least to the greatest value in each block."""
    blocks = _blocks(weight)
    minimums = blocks.amin(-1).half()
    scales = (blocks.amax(-1) - minimums.float()).div_(_NIBBLE).clamp_(min=_SMALLEST).half()
    codes = (blocks - minimums.float().unsqueeze(-1)).div_(scales.float().unsqueeze(-1)).round_()
    return BlockWeights(codes.clamp_(0, _NIBBLE).to(torch.uint8), scales, minimums)


def stack(parts: Sequence[BlockWeights]) -> BlockWeights:
    """Put matrices of equal width and bits on top of one another."""
    minimums = [part.minimums for part in parts if part.minimums is not None]
    return BlockWeights(
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat(minimums) if minimums else None,
    )


def _blocks(weight: torch.Tensor) -> torch.Tensor:
    padding = -weight.shape[1] % BLOCK
    return F.pad(weight, (0, padding)).view(len(weight), -1, BLOCK)
