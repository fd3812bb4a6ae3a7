"""Drift alarms: silent on a steady stream, and soon after a change."""

import random

from semantic_cache.decision.base import Observation, Observations
from semantic_cache.decision.drift import alarm


def pool(wrong: list[bool], *, eligible: bool = True) -> Observations:
    return Observations("m", tuple(Observation(5.0, not bad, eligible) for bad in wrong))


def test_a_steady_record_raises_no_alarm() -> None:
    alarms = 0
    for seed in range(50):
        draw = random.Random(seed)
        alarms += bool(alarm(pool([draw.random() < 0.02 for _ in range(400)])))
    assert alarms <= 2


def test_a_jump_in_mistakes_raises_one() -> None:
    draw = random.Random(1)
    before = [draw.random() < 0.01 for _ in range(200)]
    assert alarm(pool(before + [draw.random() < 0.3 for _ in range(40)]))


def test_labels_of_what_would_not_have_been_served_do_not_count() -> None:
    assert not alarm(pool([False] * 200 + [True] * 40, eligible=False))


def test_too_few_labels_say_nothing() -> None:
    assert not alarm(pool([True, False, True]))
    assert not alarm(pool([]))
