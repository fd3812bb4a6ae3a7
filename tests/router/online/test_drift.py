"""Drift is noticed soon, and hardly ever where there is none."""

from __future__ import annotations

import random
from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.after.confidence import Confidence
from router.after.signs import AnswerSigns
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight
from router.online.belief import TierBelief
from router.online.drift import REFERENCE, Cusum, Drift, psi

# The probability of an answer is its sign.
BELIEF = TierBelief(
    400,
    confidence=Confidence(Logistic(0.0, {"sure": Weight(1.0, 0.0, 1.0)}), Isotonic((0.0, 1.0), (0.0, 1.0))),
    keep_from=0.5,
    ends=0.5,
    ends_quality=0.95,
)


def signs(sure: float) -> AnswerSigns:
    return AnswerSigns({"sure": sure}, None, ())


@given(st.floats(0.05, 0.95), st.floats(1.2, 5), st.lists(st.booleans(), max_size=60))
def test_a_cumulative_sum_is_the_largest_evidence_of_any_stretch_up_to_now(
    usual: float, odds: float, hits: list[bool]
) -> None:
    watch = Cusum(usual, odds, limit=1e9)
    for hit in hits:
        watch.add(hit)
    changed = odds * usual / (1 - usual + odds * usual)
    terms = [log(changed / usual) if hit else log((1 - changed) / (1 - usual)) for hit in hits]
    best = max([0.0, *(sum(terms[begin:]) for begin in range(len(terms)))])

    assert watch.sum == pytest.approx(best, abs=1e-6)


@given(st.floats(0.05, 0.95), st.floats(0.2, 5).filter(lambda odds: abs(odds - 1) > 0.1))
def test_without_a_change_each_observation_speaks_against_one_on_average(usual: float, odds: float) -> None:
    changed = odds * usual / (1 - usual + odds * usual)
    drift = usual * log(changed / usual) + (1 - usual) * log((1 - changed) / (1 - usual))
    # The likelihood ratio has mean 1, which is what bounds false alarms.
    ratio = usual * changed / usual + (1 - usual) * (1 - changed) / (1 - usual)

    assert drift < 0
    assert ratio == pytest.approx(1)


def test_false_alarms_are_as_rare_as_the_limit_says() -> None:
    alarms = 0
    for seed in range(100):
        draw, watch = random.Random(seed), Cusum(0.3, 2.5, limit=log(1000))
        alarms += any(watch.add(draw.random() < 0.3) for _ in range(100))
    # In 100 observations at most one time in ten on average, by Lorden's bound.
    assert alarms <= 15


@pytest.mark.parametrize(("now", "odds"), [(0.6, 2.5), (0.1, 0.4)])
def test_a_change_is_found_within_150_observations(now: float, odds: float) -> None:
    found = 0
    for seed in range(50):
        draw, watch = random.Random(seed), Cusum(0.3, odds)
        found += any(watch.add(draw.random() < now) for _ in range(150))
    assert found >= 45


values = st.lists(st.floats(0, 1), min_size=20, max_size=60)


@given(values, values)
def test_psi_is_never_negative(usual: list[float], now: list[float]) -> None:
    assert psi(usual, now) >= 0


@given(values)
def test_psi_of_the_same_is_nothing(usual: list[float]) -> None:
    assert psi(usual, list(reversed(usual))) == pytest.approx(0)


@given(values)
def test_psi_knows_no_order(usual: list[float]) -> None:
    now = [value * value for value in usual]

    assert psi(usual, now) == pytest.approx(psi(usual, sorted(now)))


def test_psi_of_two_samples_of_the_same_stays_below_its_limit() -> None:
    above = 0
    for seed in range(200):
        draw = random.Random(seed)
        one, two = [[draw.random() for _ in range(REFERENCE)] for _ in range(2)]
        above += psi(one, two) > 0.25
    assert above <= 2


def watched(now: float, count: int, *, seed: int = 1) -> tuple[str | None, int]:
    """Return what a watch says of answers that are first sure of anything, then raised to a power."""
    draw, drift = random.Random(seed), Drift(BELIEF)
    for _ in range(REFERENCE):
        sure = draw.random()
        assert drift.judged(signs(sure)) is None
    for number in range(count):
        sure = draw.random() ** now
        if (why := drift.judged(signs(sure))) is not None:
            return why, number
    return None, count


def test_traffic_that_stays_the_same_raises_no_alarm() -> None:
    assert [watched(1.0, 600, seed=seed)[0] for seed in range(5)].count(None) >= 4


def test_more_and_fewer_escalations_raise_one() -> None:
    why, after = watched(3.0, 1000)
    assert why == "its answers are escalated more often than usual" and after < 150
    assert watched(0.3, 1000)[0] == "its answers are escalated less often than usual"


def test_confidence_that_moves_with_the_same_escalations_raises_one() -> None:
    draw, drift = random.Random(2), Drift(BELIEF)
    for _ in range(REFERENCE):
        sure = draw.random()
        drift.judged(signs(sure))
    found = None
    for _ in range(2 * REFERENCE):
        sure = draw.choice((0.49, 0.51))
        found = found or drift.judged(signs(sure))
    assert found is not None and "PSI" in found


def test_kept_answers_that_are_wrong_raise_one() -> None:
    drift = Drift(BELIEF)
    said = [drift.compared(agrees=False) for _ in range(10)]

    assert "kept answers are wrong more often than they were" in said


def test_what_was_learned_anew_is_no_drift() -> None:
    draw, drift = random.Random(1), Drift(BELIEF)
    stricter = TierBelief(
        400, confidence=BELIEF.confidence, keep_from=0.8, ends=0.2, ends_quality=0.95
    )  # fmt: skip
    for _ in range(REFERENCE):
        sure = draw.random()
        drift.judged(signs(sure))
    drift.trust(stricter)
    said = []
    for _ in range(300):
        sure = draw.random()
        said.append(drift.judged(signs(sure)))
    assert set(said) == {None}


def test_where_the_query_selects_what_is_usual_is_found_out_again() -> None:
    selecting = replace(BELIEF, query=Logistic(0.0, {}))
    drift = Drift(BELIEF)
    for _ in range(REFERENCE):
        drift.judged(signs(0.1))
    drift.trust(selecting)
    said = [drift.judged(signs(0.9)) for _ in range(3 * REFERENCE)]

    assert set(said) == {None}
