"""Topics are believed as far as their outcomes go."""

from __future__ import annotations

import pytest

from router.before.topics import fit_topics

MEANS = fit_topics(["law"] * 90 + ["art"] * 10, [1.0] * 90 + [0.0] * 10)


def test_a_topic_with_many_outcomes_speaks_for_itself() -> None:
    assert MEANS("law") == pytest.approx((90 + 9) / 100)


def test_one_with_few_is_drawn_to_the_mean_of_all() -> None:
    assert MEANS("art") == pytest.approx(9 / 20)


@pytest.mark.parametrize("topic", [None, "music"])
def test_an_unknown_one_is_the_mean_of_all(topic: str | None) -> None:
    assert MEANS(topic) == pytest.approx(0.9)
