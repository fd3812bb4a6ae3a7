"""Exact products of int8 matrices, and the check that they are exact on this machine.

CPUs without VNNI multiply bytes in pairs into 16 bits, and some libraries accept that the sum saturates.
Rather than to guess from CPU flags, products of extreme values are compared with the known result.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F

_EXTREME = 127
_PROBE_ROWS = (1, 2, 17, 64)
_PROBE_COLUMNS = 64
_EXACT_FP32_TERMS = (1 << 24) // (_EXTREME * _EXTREME)
"""So many products of int8 sum up exactly in fp32, in any order."""


class IntMatmul(Protocol):
    """x W^T over integers, with the weights inside."""

    in_features: int

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map int8 `x` [rows, in_features] to exact sums [rows, out_features], integers of any dtype."""
        ...


class NativeIntMatmul:
    """`torch._int_mm`. Weights stay [out, in]: transposed storage makes a single row four times as slow."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.in_features = weight.shape[1]
        self._weight = weight.t()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch._int_mm(x, self._weight)


class Fp32IntMatmul:
    """Slices of the sum in fp32, each short enough to be exact; four times the memory of int8."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.in_features = weight.shape[1]
        self._slices = [part.float() for part in torch.split(weight, _EXACT_FP32_TERMS, dim=1)]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[0], self._slices[0].shape[0], dtype=torch.int32)
        for part, weight in zip(torch.split(x, _EXACT_FP32_TERMS, dim=1), self._slices, strict=True):
            total += F.linear(part.float(), weight).int()
        return total


def prepare_int_matmul(weight: torch.Tensor) -> IntMatmul:
    """Return the quickest product with int8 `weight` [out, in] that is exact here."""
    return NativeIntMatmul(weight) if native_is_exact(weight.shape[1]) else Fp32IntMatmul(weight)


@cache
def native_is_exact(in_features: int) -> bool:
    """Tell whether `torch._int_mm` survives rows of extreme values of this length."""
    return is_exact(NativeIntMatmul(torch.full((_PROBE_COLUMNS, in_features), _EXTREME, dtype=torch.int8)))


def is_exact(matmul: IntMatmul) -> bool:
    """Tell whether `matmul`, whose weights are all 127, returns the true sums for extreme rows."""
    expected = matmul.in_features * _EXTREME * _EXTREME
    for rows in _PROBE_ROWS:
        for sign in (1, -1):
            x = torch.full((rows, matmul.in_features), sign * _EXTREME, dtype=torch.int8)
            if not bool((matmul(x) == sign * expected).all()):
                return False
    return True
