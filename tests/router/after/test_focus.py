"""How sure a model was of what its answer commits to."""

from __future__ import annotations

import pytest

from router.after.focus import focus_signs
from router.after.logprobs import Token

QUESTION = "What is the capital of Norway?"


def spoken(text: str, unsure: str, logprob: float) -> list[Token]:
    """The words of a text as tokens, all sure but one."""
    return [Token(logprob if word.strip(".") == unsure else -0.01, (), f" {word}") for word in text.split()]


def test_what_counts_is_the_word_that_the_question_does_not_have() -> None:
    sure = focus_signs(QUESTION, spoken("The capital of Norway is Oslo.", "Oslo", -0.02))
    guessed = focus_signs(QUESTION, spoken("The capital of Norway is Bodo.", "Bodo", -3.0))

    assert sure["own_words"] == guessed["own_words"] == 1
    assert sure["own_least"] == pytest.approx(-0.02)
    assert guessed["own_least"] == guessed["own_first"] == guessed["own_last"] == -3.0
    assert guessed["own_least_p"] < 0.06 < 0.9 < sure["own_least_p"]


def test_a_doubtful_word_of_the_question_is_none_of_its_own() -> None:
    signs = focus_signs(QUESTION, spoken("The capital of Norway is Oslo.", "capital", -4.0))

    assert signs["own_least"] == pytest.approx(-0.01)
    assert signs["said_least"] == -4.0


def test_what_follows_the_first_sentence_is_not_looked_at() -> None:
    signs = focus_signs(QUESTION, spoken("It is Oslo. Founded by Vikings.", "Vikings", -9.0))

    assert signs["own_least"] == pytest.approx(-0.01)


def test_an_answer_without_a_word_of_its_own_says_so() -> None:
    signs = focus_signs(QUESTION, spoken("The capital is the capital.", "", 0.0))

    assert signs["no_own_word"] == 1
    assert "own_least" not in signs


def test_without_the_tokens_text_there_are_no_signs() -> None:
    assert focus_signs(QUESTION, [Token(-1.0)]) == {}
    assert focus_signs(QUESTION, []) == {}
