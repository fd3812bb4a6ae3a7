"""fp32 arithmetic of the native kernels in numpy, bit for bit: fused multiply-add, and sums over 16 lanes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LANES = 16


def multiply_add(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return a * b + c rounded once, which numpy cannot do.

    The product is exact in fp64. The sum is rounded to odd, so that the second rounding, to fp32, is that of
    the exact sum (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    wide = np.asarray(total)
    bits = wide.view(np.int64)
    # The neighbour on the side of the exact sum: one step from zero, or towards it.
    step = np.where((error > 0) == (wide > 0), 1, -1)
    odd = bits + np.where((error != 0) & (bits & 1 == 0), step, 0)
    return odd.view(np.float64).astype(np.float32)


def lane_sum(x: Floats) -> Floats:
    """Return the sums of `x` [..., 16], halving again and again."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    total: Floats = x[..., 0]
    return total


def exponential(x: Floats) -> Floats:
    """Return e^x as `exponential` of native/src/simd.h does."""
    one = np.float32
    x = np.maximum(np.minimum(x, one(88)), one(-87))
    turns = np.rint(x * one(1.44269504))
    r = multiply_add(turns, _full(x, -0.693359375), x)
    r = multiply_add(turns, _full(x, 2.12194440e-4), r)
    p = _full(x, 1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = multiply_add(p, r, _full(x, coefficient))
    p = multiply_add(r * r, p, r + one(1))
    power = ((turns.astype(np.int32) + 127) << 23).view(np.float32)
    result: Floats = p * power
    return result


def _full(like: Floats, value: float) -> Floats:
    return np.full(like.shape, value, np.float32)
