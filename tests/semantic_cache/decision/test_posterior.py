"""What labels do to a score."""

from semantic_cache.decision.base import Observation
from semantic_cache.decision.posterior import entry_shift, lower_log_odds, scope_shift, wrong_bound


def labels(*same: bool, score: float = 3.0) -> tuple[Observation, ...]:
    return tuple(Observation(score, label) for label in same)


def test_agreeing_labels_raise_and_disagreeing_lower_a_scope() -> None:
    nothing = scope_shift(())
    assert nothing.mean == 0
    assert scope_shift(labels(*[True] * 50)).mean > 0 > scope_shift(labels(*[False] * 5)).mean
    assert scope_shift(labels(*[True, False] * 50)).sd < nothing.sd


def test_a_shift_stays_finite_where_all_labels_agree() -> None:
    assert abs(scope_shift(labels(*[True] * 1000)).mean) < 10
    assert abs(scope_shift(labels(*[False] * 1000, score=12.0)).mean) < 25


def test_one_mistake_weighs_more_on_its_entry_than_on_its_scope() -> None:
    seen = labels(False, score=5.0)
    scope = scope_shift(labels(*[True] * 30, score=5.0) + seen)
    assert entry_shift(seen, scope).mean < -1 < scope.mean


def test_the_bound_falls_with_certainty_and_needs_little_of_it_for_a_small_budget() -> None:
    assert wrong_bound(8, 0.5) < wrong_bound(8, 2) < wrong_bound(4, 2)
    # On a linear grid whose first step is 0.02 this could not go below 0.02.
    assert wrong_bound(9, 0.5) < 0.005
    assert lower_log_odds(5, 1) < 5
