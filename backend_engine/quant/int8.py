"""Int8 weights and activations with integer accumulation: quick on any CPU, and the same for every batch.

Weights: one scale per output channel; activations: one per token, so that a row with outliers cannot spoil
its neighbours. Both symmetric, absmax / 127. All sums are exact integers and the rest is element-wise, so a
row's result is bitwise the same alone, in any batch and on any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from backend_engine.loading.checkpoint import Checkpoint
from backend_engine.quant.int_matmul import IntMatmul, prepare_int_matmul
from backend_engine.quant.rotation import hadamard, hadamard_block, rotate_residual_stream

_LEVELS = 127
_FINE_LEVELS = 1 << 17
"""Of the grid that values are put on before a Hadamard matrix adds up to 64 of them: exact in fp32."""
_SMALLEST = 1e-30
"""Stands in for the absmax of a row of zeros, so that nothing is divided by zero."""
_ROWS_IN_CACHE = 512
"""Weights are rounded by so many rows: a whole head at once would allocate its size three times."""


def quantize_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `x` [rows, columns] as int8 with scales fp32 [rows, 1], x ≈ int8 * scale."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min_(_SMALLEST).div_(_LEVELS)
    return (x / scale).round_().to(torch.int8), scale


class Int8Linear:
    """A matmul of int8 rows."""

    def __init__(self, matmul: IntMatmul, scale: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        """`matmul` holds the integer weights; `scale` is fp32 [out_features]."""
        self.in_features, self.out_features = matmul.in_features, len(scale)
        self._matmul = matmul
        self._scale = scale
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows, row_scale = quantize_rows(x)
        y = self._matmul(rows).float().mul_(self._scale).mul_(row_scale)
        return y if self._bias is None else y.add_(self._bias)


class HadamardInt8Linear:
    """An Int8Linear whose input is first turned by a Hadamard matrix, block by block, to spread outliers.

    The turn is a matmul whose result must not depend on the batch, so it works on integers that fp32
    holds exactly: each row is rounded to a grid of 17 bits first, which is far finer than int8.
    """

    def __init__(self, linear: Int8Linear, block: int) -> None:
        """`linear` holds weights that are turned the same way, divided by `block`."""
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._linear = linear
        self._hadamard = hadamard(block)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        scale = x.abs().amax(-1, keepdim=True).clamp_min_(_SMALLEST).div_(_FINE_LEVELS)
        grid = (x / scale).round_().view(-1, len(self._hadamard))
        return self._linear((grid @ self._hadamard).view(x.shape)).mul_(scale)


class Int8Format:
    """Rounds weights to int8 in a rotated basis (see `rotation`), and embeddings to fp16.

    An embedding row is the start of the residual stream and is read once per token, so its size costs
    memory but no time: fp16 keeps it to 0.05 %, where int8 would be off by 0.5 %.
    """

    def adapt(self, checkpoint: Checkpoint) -> Checkpoint:
        return rotate_residual_stream(checkpoint)

    def linear(self, weights: Iterable[torch.Tensor], bias: torch.Tensor | None = None) -> Int8Linear:
        parts = [quantize_rows(rows) for weight in weights for rows in torch.split(weight, _ROWS_IN_CACHE)]
        values = torch.cat([part for part, _ in parts])
        scale = torch.cat([scale for _, scale in parts]).squeeze(1)
        return Int8Linear(prepare_int_matmul(values), scale, bias)

    def down_projection(self, weight: torch.Tensor) -> HadamardInt8Linear:
        block = hadamard_block(weight.shape[1])
        turned = (weight.view(-1, block) @ hadamard(block)).div_(block).view(weight.shape)
        return HadamardInt8Linear(self.linear([turned]), block)

    def embedding(self, table: torch.Tensor) -> torch.Tensor:
        return table.half()
