"""A prior is learned from several kinds of questions, for others."""

from __future__ import annotations

import random

import pytest

from router.after.signs import AnswerSigns
from router.errors import TooFewOutcomes
from router.fit.prior import by_kind, fit_prior

KINDS = [f"kind{number % 6}" for number in range(300)]


def signs(value: float, broken: str | None = None) -> AnswerSigns:
    return AnswerSigns({"own_least": value}, broken, ())


def test_what_separates_right_from_wrong_on_every_kind_is_learned() -> None:
    chance = random.Random(3)
    right = [chance.random() < 0.5 for _ in KINDS]
    seen = [signs(chance.gauss(-1.0 if ok else -3.0, 1.0)) for ok in right]

    prior = fit_prior("small", KINDS, ["Why?"] * len(KINDS), seen, right)

    judge = prior.confidence.judge
    assert judge(signs(-0.2)).probability > 0.7 > 0.3 > judge(signs(-5.0)).probability
    assert judge(signs(-0.2, "cut")).probability == 0
    assert prior.outcomes == len(KINDS)
    assert prior.query is None
    assert len(prior.said) == 2


def test_queries_are_judged_only_if_they_tell_something_on_other_kinds() -> None:
    chance = random.Random(3)
    right = [chance.random() < 0.5 for _ in KINDS]
    seen = [signs(chance.gauss(0, 1)) for _ in KINDS]
    prompts = ["Why?" if ok else "7 + 8 = 15, 9 * 3 = 27; prove it\n" * 3 for ok in right]

    prior = fit_prior("small", KINDS, prompts, seen, right)

    assert prior.query is not None
    assert "the query alone helps" in prior.said[1]


def test_a_prior_needs_right_and_wrong_answers() -> None:
    with pytest.raises(TooFewOutcomes):
        fit_prior("small", KINDS, ["Why?"] * 300, [signs(0.0)] * 300, [True] * 300)


def test_every_row_is_in_the_part_of_its_kind() -> None:
    parts = by_kind(["a", "b", "a"])

    assert [part.tolist() for part in parts] == [[0, 2], [1]]
