"""Linear maps of a vector."""

from __future__ import annotations

import pytest

from router.before.linear import Factorised, Linear


def test_a_linear_map_is_a_product_and_a_bias() -> None:
    assert Linear(1.0, (2.0, -1.0))([3.0, 4.0]) == 3.0


def test_a_factorisation_gives_a_probability() -> None:
    assert Factorised(Linear(0.0, (1.0,)))([0.0]) == 0.5
    assert Factorised(Linear(0.0, (1.0,)))([2.0]) == pytest.approx(0.8808, abs=1e-4)
