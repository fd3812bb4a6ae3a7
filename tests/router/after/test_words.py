"""The words of an answer and their probabilities, whatever the tokens are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.after.logprobs import LOWEST, Token
from router.after.words import first_sentence, telling, words_of


def tokens(*pieces: tuple[str, float]) -> list[Token]:
    return [Token(logprob, (), text) for text, logprob in pieces]


def test_a_word_is_as_probable_as_all_its_tokens_together() -> None:
    words = first_sentence(tokens(("The", -0.5), (" cap", -1.0), ("ital", -2.0), (" is", -0.25)))

    assert [word.text for word in words] == ["the", "capital", "is"]
    assert [word.logprob for word in words] == [-0.5, -3.0, -0.25]


def test_a_token_that_holds_several_words_counts_for_each() -> None:
    words = first_sentence(tokens(("New York", -2.0), (" City", -1.0)))

    assert [(word.text, word.logprob) for word in words] == [("new", -2.0), ("york", -2.0), ("city", -1.0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It is Oslo. The river is wide.", ["it", "is", "oslo"]),
        ("\n\nOslo\nis it", ["oslo"]),
        ("It costs 3.50 at 14:20! Yes.", ["it", "costs", "3.50", "at", "14:20"]),
        ("e.g. this", ["e.g"]),
        ("...", []),
        ("", []),
    ],
)
def test_a_sentence_ends_with_its_mark_or_its_line(text: str, words: list[str]) -> None:
    assert [word.text for word in first_sentence(tokens((text, -1.0)))] == words


def test_tokens_without_text_have_no_words() -> None:
    assert first_sentence([Token(-1.0), Token(-2.0)]) == []


def test_words_that_hold_a_sentence_together_tell_nothing() -> None:
    assert telling(words_of("The capital of Norway is Oslo.")) == ["capital", "norway", "oslo"]


@given(st.lists(st.tuples(st.text(max_size=6), st.floats(-100, 0)), max_size=30))
def test_any_tokens_have_the_words_of_their_text(pieces: list[tuple[str, float]]) -> None:
    words = first_sentence(tokens(*pieces))

    assert [word.text for word in words] == words_of("".join(text for text, _ in pieces))[: len(words)]
    assert all(LOWEST * len(pieces) <= word.logprob <= 0 for word in words)
