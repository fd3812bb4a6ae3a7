"""The questions of the live cascade: the same every time, in halves that do not meet, and fairly checked."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks._live_questions import KINDS, UNSEEN, Check, Question, half_of, is_right, questions


def test_there_are_enough_and_they_are_the_same_every_time() -> None:
    rest = questions("rest", 12)

    assert rest == questions("rest", 12)
    assert len(rest) >= 300
    assert rest != questions("rest", 12, seed=1)


def test_what_is_learned_from_meets_neither_the_items_nor_all_the_kinds_of_the_rest() -> None:
    past = questions("past", 40) + questions("past", 40, seed=1)
    rest = questions("rest", 40) + questions("rest", 40, seed=1)

    assert not {(one.kind, one.about) for one in past} & {(one.kind, one.about) for one in rest}
    assert {one.kind for one in rest} - {one.kind for one in past} == set(UNSEEN)
    assert all(half_of(one) == "past" for one in past)


def test_no_kind_has_more_than_its_share_and_no_question_comes_twice() -> None:
    rest = questions("rest", 12)

    assert max(Counter(one.kind for one in rest).values()) == 12
    assert {one.kind for one in rest} == set(KINDS)
    assert len({one.text for one in rest}) == len(rest)


def test_every_question_is_answered_by_its_own_answer_in_a_sentence() -> None:
    for question in questions("rest", 12) + questions("past", 12):
        said = f"'{question.right[0]}'" if question.check == "letter" else question.right[0]
        assert is_right(question, f"It is {said}."), question
        assert not is_right(question, "That is not known."), question


@pytest.mark.parametrize(
    ("check", "right", "others", "reply", "expected"),
    [
        ("words", ("Oslo",), (), "The capital of Norway is oslo!", True),
        ("words", ("Oslo",), (), "Osloer", False),
        ("words", ("14:20",), (), "It leaves at 14:20:35.", False),
        ("words", ("Oslo",), (), "Well. " * 40 + "Oslo", False),
        ("number", ("12",), (), "5 + 7 = 12, which is less than 13", True),
        ("number", ("12",), (), "5 and 7 make 12", True),
        ("number", ("12",), (), "12 is more than 11", False),
        ("number", ("1200",), (), "1,200", True),
        ("number", ("12",), (), "a dozen", False),
        ("choice", ("yes",), ("no",), "Yes, there is no doubt.", True),
        ("choice", ("yes",), ("no",), "No. Yes?", False),
        ("letter", ("k",), (), "The letter is 'K'.", True),
        ("letter", ("k",), (), "It is K", True),
        ("letter", ("a",), (), "It is a letter.", False),
        ("letter", ("k",), (), "'K' and 'N'", False),
    ],
)
def test_replies_are_read_as_people_would(
    check: Check, right: tuple[str, ...], others: tuple[str, ...], reply: str, expected: bool
) -> None:
    assert is_right(Question("kind", "it", "?", right, check, others), reply) is expected
