"""A logistic model over named signs."""

from __future__ import annotations

import pytest

from router.logistic import Logistic, Weight, sigmoid

MODEL = Logistic(0.0, {"sums": Weight(2.0, 1.0, 0.5), "length": Weight(-1.0, 100.0, 50.0)})


def test_a_sign_counts_by_its_distance_from_the_mean() -> None:
    assert MODEL.score({"sums": 1.5, "length": 100}) == pytest.approx(2.0)
    assert MODEL.probability({"sums": 1.5, "length": 100}) == pytest.approx(0.8808, abs=1e-4)


def test_a_missing_sign_is_neither_for_nor_against() -> None:
    assert MODEL.score({"length": 150}) == MODEL.score({"length": 150, "sums": 1.0})


def test_the_strongest_signs_come_first() -> None:
    assert MODEL.strongest({"sums": 1.1, "length": 300}) == ["length", "sums"]
    assert MODEL.strongest({"sums": 1.1}) == ["sums"]


def test_the_logistic_function_does_not_overflow() -> None:
    assert sigmoid(-1000) == 0.0
    assert sigmoid(1000) == 1.0
