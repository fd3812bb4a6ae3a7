"""Every way that can be named is built."""

from __future__ import annotations

from gateway.compression.mode import WAYS
from gateway.window.strategies import strategies


def test_every_way_but_a_longer_model_is_a_strategy_of_that_name() -> None:
    found = strategies()
    assert {*found, "longer"} == set(WAYS)
    assert all(strategy.name == way for way, strategy in found.items())
