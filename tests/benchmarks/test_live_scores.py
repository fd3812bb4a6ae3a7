"""What is counted of the live cascade."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._live_answers import Answered
from benchmarks._live_questions import Question
from benchmarks._live_scores import baselines, scored
from router.after.logprobs import Token
from router.after.signs import SmallAnswer


def answered(text: str, logprob: float, *, right: bool) -> Answered:
    said = SmallAnswer("Which?", text, "stop", None, [Token(logprob, (), text)])
    return Answered(Question("kind", "it", "Which?", ("x",), "words"), said, right, 5, 3)


def test_a_score_that_orders_well_saves_what_an_oracle_saves() -> None:
    small, large = np.array([True, False, True, False]), np.ones(4, dtype=bool)

    assert scored(np.array([0.9, 0.1, 0.8, 0.2]), small, large) == {
        "auroc": 1.0,
        "strong_calls_at_95": pytest.approx(0.45),
        "calls_saved_at_95": pytest.approx(0.55),
    }
    assert scored(np.zeros(4), small, large)["auroc"] == 0.5
    assert scored(np.zeros(4), small, large)["strong_calls_at_95"] == pytest.approx(0.9)


def test_lengths_count_in_the_direction_that_the_first_half_shows() -> None:
    short, long = answered("x", -1.0, right=True), answered("y" * 90, -0.1, right=False)

    for past in (
        [short, long] * 10,
        [answered("x", -1.0, right=False), answered("y" * 90, -0.1, right=True)] * 10,
    ):
        found = baselines(past, [short, long])
        shorter_is_right = past[0].right
        for name in ("length", "answer-length"):
            assert (found[name][0] > found[name][1]) == shorter_is_right

    assert found["mean-logprob"].tolist() == [-1.0, pytest.approx(-0.1)]
    assert found["oracle"].tolist() == [1.0, 0.0]
