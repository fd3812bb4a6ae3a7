"""A pool of labels is looked through once, and says of a score what each label from it on was worth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.decision.base import Observation, Observations
from semantic_cache.decision.bounds import lower_bound, upper_bound
from semantic_cache.decision.pool import Pool
from semantic_cache.decision.posterior import scope_shift

SCORES = st.sampled_from([-1.0, 0.0, 0.5, 2.0, 2.5, 4.0])
LABELS = st.lists(st.builds(Observation, SCORES, st.booleans(), st.just(False)), max_size=30)


def labels(*same: bool, score: float, eligible: bool = False) -> tuple[Observation, ...]:
    return tuple(Observation(score, one, eligible) for one in same)


@given(LABELS, SCORES)
def test_the_tail_counts_labels_from_a_score_on(seen: list[Observation], score: float) -> None:
    above = [label.same for label in seen if label.score >= score]
    tail = Pool.of(Observations("m", tuple(seen))).tail(score)
    assert tail.labels == len(above)
    assert tail.upper == upper_bound(above.count(False), len(above))
    assert tail.lower == lower_bound(above.count(False), len(above))


def test_many_right_labels_bring_the_bound_down_and_wrong_ones_bring_it_up() -> None:
    pool = Pool.of(Observations("m", labels(*[True] * 400, score=4.0) + labels(*[False] * 40, score=1.0)))
    assert pool.tail(3.0).upper < 0.01
    assert pool.tail(0.0).lower > 0.05
    assert Pool.of(Observations()).tail(0.0).upper == 1


def test_after_drift_only_the_newest_labels_are_in_force() -> None:
    before = labels(*[True] * 400, score=4.0, eligible=True)
    after = labels(*[False] * 20, score=4.0, eligible=True)
    assert not Pool.of(Observations("m", before)).drift
    pool = Pool.of(Observations("m", before + after))
    assert pool.drift
    assert pool.tail(0.0).labels == 30
    assert pool.scope == scope_shift((before + after)[-30:])
