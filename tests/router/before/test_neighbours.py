"""Near neighbours count, far ones hardly."""

from __future__ import annotations

import pytest

from router.before.neighbours import neighbours_mean


def mean(found: list[tuple[float, float]]) -> float:
    return neighbours_mean(found, 0.2, width=0.1, strength=1.0)


def test_without_neighbours_the_overall_mean_holds() -> None:
    assert mean([]) == pytest.approx(0.2)


def test_the_same_question_again_says_most() -> None:
    assert mean([(1.0, 1.0)]) > 0.95
    assert mean([(1.0, -1.0)]) < -0.9


def test_the_nearer_of_two_counts_more() -> None:
    assert mean([(0.9, 1.0), (0.7, 0.0)]) > mean([(0.9, 0.0), (0.7, 1.0)])


def test_a_query_far_from_all_gets_about_the_overall_mean() -> None:
    assert mean([(0.1, 1.0)] * 20) == pytest.approx(0.2, abs=0.05)
