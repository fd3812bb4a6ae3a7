"""Bounds of a share from counts."""

import pytest

from semantic_cache.decision.bounds import lower_bound, quantile, sigmoid, upper_bound


def test_no_events_in_three_hundred_bound_the_share_by_one_percent() -> None:
    assert upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-9)
    assert upper_bound(0, 299) < 0.01 < upper_bound(0, 297)


@pytest.mark.parametrize(("events", "trials"), [(1, 10), (5, 50), (40, 100)])
def test_bounds_hold_the_share_between_them_and_tighten_with_trials(events: int, trials: int) -> None:
    assert lower_bound(events, trials) < events / trials < upper_bound(events, trials)
    assert upper_bound(events * 10, trials * 10) < upper_bound(events, trials)


def test_nothing_is_known_without_trials() -> None:
    assert (lower_bound(0, 0), upper_bound(0, 0)) == (0.0, 1.0)


def test_sigmoid_and_quantile_at_the_far_ends() -> None:
    assert sigmoid(-800) == pytest.approx(0)
    assert sigmoid(800) == 1
    assert quantile(0.95) == pytest.approx(1.6449, abs=1e-4)
