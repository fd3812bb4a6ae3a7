"""Calibration rises with the score and says what has happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.isotonic import fit_isotonic

OUTCOMES = st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 1)), min_size=1, max_size=60)


@given(OUTCOMES, st.integers(1, 10), st.lists(st.floats(-10, 10), min_size=2, max_size=10))
def test_it_never_falls_and_stays_within_the_outcomes(
    pairs: list[tuple[float, int]], smallest: int, asked: list[float]
) -> None:
    fitted = fit_isotonic([score for score, _ in pairs], [float(value) for _, value in pairs], smallest)
    values = [fitted(score) for score in sorted(asked)]

    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)


def test_violators_are_pooled() -> None:
    fitted = fit_isotonic([1, 2, 3, 4], [0.0, 1.0, 0.0, 1.0])

    assert fitted.values == (0.0, 0.5, 1.0)
    assert fitted.scores == (1, 2.5, 4)
    assert fitted(1.75) == pytest.approx(0.25)


def test_a_few_lucky_outcomes_at_an_end_are_no_certainty() -> None:
    outcomes = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0]

    assert fit_isotonic(range(8), outcomes)(7) == 1.0
    assert fit_isotonic(range(8), outcomes, smallest=4)(7) == 0.75


def test_no_outcomes_are_an_error() -> None:
    with pytest.raises(ValueError, match="no outcomes"):
        fit_isotonic([], [])
