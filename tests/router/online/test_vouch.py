"""What is kept is never more than the outcomes vouch for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.online.vouch import LEAST, score_at, vouch


def drawn(seed: int, count: int) -> tuple[list[float], list[bool], list[float]]:
    draw = random.Random(seed)
    scores = [draw.random() for _ in range(count)]
    return scores, [draw.random() < 0.6 + 0.4 * score for score in scores], [1.0] * count


def test_below_a_hundred_outcomes_nothing_is_vouched_for() -> None:
    assert vouch([1.0] * (LEAST - 1), [True] * (LEAST - 1), [1.0] * (LEAST - 1), 0.5, 0.9) is None
    assert vouch([1.0] * LEAST, [True] * LEAST, [1.0] * LEAST, 0.06, 0.9) is not None


def test_the_loss_on_new_requests_is_what_was_allowed_nine_times_in_ten() -> None:
    within = []
    for seed in range(60):
        scores, agrees, weights = drawn(seed, 400)
        found = vouch(scores, agrees, weights, 0.06, 0.9)
        assert found is not None
        edge = score_at(scores, weights, found.share)
        new, right, _ = drawn(seed + 1000, 400)
        loss = sum(score >= edge and not ok for score, ok in zip(new, right, strict=True)) / 400
        within.append(loss <= 0.06)
    assert sum(within) >= 54


def test_it_is_not_bought_by_keeping_nothing() -> None:
    scores, agrees, weights = drawn(3, 1000)
    found = vouch(scores, agrees, weights, 0.06, 0.9)

    # Keeping the best 40% loses about 0.4 * 0.12 / 2.
    assert found is not None and found.share > 0.3


def test_outcomes_that_stand_for_many_requests_count_for_many() -> None:
    """A kept answer is compared one time in fifty: its error is fifty errors."""
    scores, weights = [1.0] * 20 + [0.0] * 380, [50.0] * 20 + [1.0] * 380
    right = [True] * 400

    assert vouch(scores, right, weights, 0.06, 0.9) is not None
    right[0] = False
    assert vouch(scores, right, weights, 0.06, 0.9) is None


def test_that_nothing_went_wrong_is_no_proof_that_nothing_will() -> None:
    assert vouch([1.0] * 100, [True] * 100, [1.0] * 100, 0.005, 0.9) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from([1.0, 10.0])), min_size=1, max_size=40
    ),
    st.floats(0, 1),
)
def test_a_threshold_never_keeps_more_than_its_share(
    rows: list[tuple[int, bool, float]], share: float
) -> None:
    scores, weights = [float(score) for score, _, _ in rows], [weight for _, _, weight in rows]
    edge = score_at(scores, weights, share)
    kept = sum(weight for score, weight in zip(scores, weights, strict=True) if score >= edge)

    assert kept <= share * sum(weights) * (1 + 1e-6)
    following = max((score for score in scores if score < edge), default=None)
    if following is not None:
        more = sum(weight for score, weight in zip(scores, weights, strict=True) if score >= following)
        assert more > share * sum(weights)


@given(st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_who_allows_more_keeps_no_less(one: float, other: float) -> None:
    scores, agrees, weights = drawn(5, 200)
    found = [vouch(scores, agrees, weights, allowed, 0.9) for allowed in sorted((one, other))]
    shares = [0.0 if each is None else each.share for each in found]

    assert shares[0] <= shares[1]


def test_equal_scores_are_kept_together_or_not_at_all() -> None:
    assert score_at([1.0] * 4, [1.0] * 4, 0.5) == float("inf")
    assert score_at([2.0, 1.0, 1.0, 1.0], [1.0] * 4, 0.5) == 2.0
    assert score_at([1.0] * 4, [1.0] * 4, 1.0) == pytest.approx(1.0)
