"""A linear layer of block weights in plain torch: the reference of the native kernel, and its stand-in.

Activations are rounded to int8 in the same blocks of 32, absmax / 127 each, so that an outlier coarsens its
31 neighbours and nothing else. A block's sum is an integer, exact in any order; blocks are added up in fp32
in their order with fused multiply-adds. So a row's result is bitwise the same alone, in any batch, on any
number of threads, and in `native/src/linear.h`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from backend_engine.quant.blocks import BLOCK, OFFSET, BlockWeights

_LEVELS = 127


class BlockLinear:
    """y = x W^T + b."""

    def __init__(self, weights: BlockWeights, in_features: int, bias: torch.Tensor | None = None) -> None:
        self.in_features, self.out_features = in_features, len(weights.codes)
        self._weights = weights
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        weights = self._weights
        codes, scales = quantize_blocks(x)
        scaled_sums = codes.sum(-1).mul_(scales)
        y = torch.zeros(len(x), self.out_features)
        for block in range(scales.shape[1]):
            w = weights.codes[:, block].float()
            if weights.minimums is None:
                w.sub_(OFFSET)
            sums = (codes[:, block] @ w.t()).mul_(scales[:, block, None])
            y = _multiply_add(sums, weights.scales[:, block], y)
            if weights.minimums is not None:
                y = _multiply_add(scaled_sums[:, block, None], weights.minimums[:, block], y)
        return y if self._bias is None else y.add_(self._bias)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return rows `ids` of the weights, fp32 [ids, in_features]."""
        return self._weights.dequantize(ids)[:, : self.in_features]


def quantize_blocks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round `x` [rows, features] to whole numbers [rows, blocks, 32] and scales [rows, blocks], both fp32."""
    blocks = F.pad(x, (0, -x.shape[1] % BLOCK)).view(len(x), -1, BLOCK)
    most = blocks.abs().amax(-1)
    # Not `_LEVELS / most`, which torch turns into a product with the reciprocal: two roundings.
    inverse = torch.where(most > 0, torch.full_like(most, _LEVELS) / most, 0.0)
    return (blocks * inverse.unsqueeze(-1)).round_(), most / _LEVELS


def _multiply_add(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    # A product of fp32 and fp16 is exact in fp64, which leaves one rounding to fp32, that of a fused one.
    return (a.double() * b.double()).add_(c.double()).float()
