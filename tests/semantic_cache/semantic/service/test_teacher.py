"""The labels of many entries together, as drift is looked for in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.decision.base import Observation, Observations
from semantic_cache.record import Learnt, Stored, encode
from semantic_cache.semantic.service.teacher import observations_of, pool_of
from tests.semantic_cache.support.samples import key
from tests.semantic_cache.support.semantic_process import record

LABELS = st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=12)


def stored(name: str, labels: list[tuple[int, bool]], model: str = "c1") -> Stored:
    dated = sorted(labels)
    seen = tuple(Observation(float(at), same) for at, same in dated)
    learnt = Learnt(encode(Observations(model, seen)), (), tuple(float(at) for at, _ in dated))
    return Stored(key(name), record(name), learnt)


@given(st.lists(LABELS, max_size=6), st.integers(1, 40))
def test_they_stand_in_the_order_in_which_they_were_made(entries: list[object], most: int) -> None:
    records = [stored(str(number), labels) for number, labels in enumerate(entries)]  # type: ignore[arg-type]
    pool = pool_of(records, most)
    everything = sorted(at for labels in entries for at, _ in labels)  # type: ignore[attr-defined]
    if not everything:
        assert pool is None
        return
    assert pool is not None and pool.model == "c1"
    assert [label.score for label in pool.seen] == everything[-most:]


def test_those_of_another_calibration_are_left_out() -> None:
    pool = pool_of([stored("old", [(1, True), (2, True)], "c0"), stored("new", [(3, False)])], 10)
    assert pool == Observations("c1", (Observation(3.0, False),))


def test_what_cannot_be_read_counts_as_nothing_learnt() -> None:
    broken = Stored(key("a"), record("a"), Learnt(b"\xc1 not msgpack", (), (1.0,)))
    assert observations_of(broken) == Observations() and pool_of([broken], 5) is None


def test_a_history_without_times_counts_as_old() -> None:
    undated = stored("a", [(7, True), (8, True)])
    undated = Stored(undated.key, undated.record, Learnt(undated.learnt.observations))
    pool = pool_of([stored("b", [(1, False)]), undated], 10)
    assert pool is not None and [label.same for label in pool.seen] == [True, True, False]
