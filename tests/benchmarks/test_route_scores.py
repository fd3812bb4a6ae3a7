"""The figures of `forebay bench route` mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._route_scores import apgr, calibration_error, figures, share_for

WEAK = np.array([True] * 6 + [False] * 4)
STRONG = np.array([True] * 9 + [False])
GAIN = STRONG.astype(float) - WEAK.astype(float)


def test_a_coin_needs_the_share_of_the_gap() -> None:
    assert share_for(np.zeros(10), WEAK, STRONG, 0.95) == pytest.approx((0.95 * 0.9 - 0.6) / 0.3)
    assert apgr(np.zeros(10), WEAK, STRONG) == pytest.approx(0.5)


def test_an_oracle_calls_only_where_it_changes_the_answer() -> None:
    assert share_for(GAIN, WEAK, STRONG, 1.0) == pytest.approx(0.3)
    assert apgr(np.arange(10.0) * GAIN, WEAK, STRONG) == pytest.approx(0.85)


def test_no_calls_are_needed_where_the_weak_model_is_good_enough() -> None:
    assert share_for(np.zeros(10), WEAK, STRONG, 0.5) == 0


def test_without_a_gap_there_is_none_to_recover() -> None:
    assert apgr(GAIN, WEAK, WEAK) is None


def test_prices_make_the_cost_and_a_cascade_pays_twice() -> None:
    costs = (np.full(10, 1.0), np.full(10, 4.0))

    alone = figures(GAIN, WEAK, STRONG, costs, cascade=False)
    cascade = figures(GAIN, WEAK, STRONG, costs, cascade=True)

    assert alone["cost_at_100"] == pytest.approx((7 + 12) / 40)
    assert cascade["cost_at_100"] == pytest.approx((10 + 12) / 40)
    assert figures(GAIN, WEAK, STRONG, None, cascade=True)["cost_at_100"] == pytest.approx(0.3)


def test_calibration_error_is_the_distance_from_what_happened() -> None:
    assert calibration_error(np.full(10, 0.6), WEAK, bins=1) == pytest.approx(0)
    assert calibration_error(np.full(10, 0.9), WEAK, bins=1) == pytest.approx(0.3)
