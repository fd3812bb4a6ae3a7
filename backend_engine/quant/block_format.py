"""Linear layers of block weights: which blocks of a file are kept, and how the rest is rounded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch

from backend_engine.loading.weights import Matrix
from backend_engine.quant.base import Quantization, Table
from backend_engine.quant.blocks import BlockWeights, round_to_eight_bits, round_to_four_bits, stack

_KEPT: dict[Quantization, Collection[int]] = {"auto": (4, 8), "int8": (8,), "int4": (4,)}
"""Bits of the blocks that are kept as they are in the file."""

MakeLinear = Callable[[BlockWeights, int, torch.Tensor | None], Table]
"""(weights, in_features, bias): `BlockLinear`, or `PackedLinear` with its team."""


class BlockFormat:
    """Makes layers through `make` from the file's own blocks or from rounded ones.

    Embeddings always have eight bits: a row begins the residual stream, and few read it.
    """

    def __init__(self, quantization: Quantization, make: MakeLinear) -> None:
        self._kept = _KEPT[quantization]
        self._round = round_to_four_bits if quantization == "int4" else round_to_eight_bits
        self._make = make

    def linear(self, parts: Sequence[Matrix], bias: torch.Tensor | None = None) -> Table:
        blocks = [self._blocks(part) for part in parts]
        if len({part.bits for part in blocks}) > 1:
            blocks = [part if part.bits == 8 else _widen(part) for part in blocks]
        return self._make(stack(blocks), parts[0].columns, bias)

    def table(self, matrix: Matrix) -> Table:
        blocks = matrix.blocks()
        if blocks is None or blocks.bits != 8:
            blocks = round_to_eight_bits(matrix.read())
        return self._make(blocks, matrix.columns, None)

    def _blocks(self, matrix: Matrix) -> BlockWeights:
        blocks = matrix.blocks()
        return blocks if blocks is not None and blocks.bits in self._kept else self._round(matrix.read())


def _widen(blocks: BlockWeights) -> BlockWeights:
    return round_to_eight_bits(blocks.dequantize())
