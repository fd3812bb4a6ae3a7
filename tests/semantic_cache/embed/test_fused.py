"""Arithmetic that numpy lacks, against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.embed.fused import exponential, lane_sum, multiply_add

# Where the exact result is an ordinary fp32 number, as it is in the encoder.
numbers = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)


def nearest(exact: Fraction) -> np.float32:
    """Round once, ties to even."""
    near = np.float32(float(exact))
    around = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    return min(around, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(np.int32)) & 1))


@given(numbers, numbers, numbers)
def test_multiply_add_rounds_once(a: float, b: float, c: float) -> None:
    arrays = (np.array([x], np.float32) for x in (a, b, c))
    assert multiply_add(*arrays)[0] == nearest(Fraction(a) * Fraction(b) + Fraction(c))


def test_multiply_add_where_two_roundings_would_differ() -> None:
    # 1 + 2^-24 is half way between two fp32 numbers; 2^-60 beyond it decides, and fp64 loses that.
    a, b, c = np.float32(2**-30), np.float32(2**-30), np.float32(1 + 2**-23)
    tie = np.array([2**-24 + 2**-47], np.float32)
    for x, y, z in ((a, b, c), (tie[0], np.float32(1 + 2**-23), np.float32(1))):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        assert multiply_add(*(np.array([v], np.float32) for v in (x, y, z)))[0] == nearest(exact)


def test_exponential_is_right_to_two_units() -> None:
    x = np.linspace(-80, 80, 4001).astype(np.float32)
    expected = np.array([math.exp(float(value)) for value in x])
    assert np.max(np.abs(exponential(x) / expected - 1)) < 2.5e-7


def test_lane_sum_halves() -> None:
    x = np.arange(32, dtype=np.float32).reshape(2, 16)
    assert lane_sum(x).tolist() == [120, 376]
