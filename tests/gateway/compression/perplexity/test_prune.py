"""What may go from a sentence, and what never does."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compression.parts import Passage
from gateway.compression.perplexity.nll import Token
from gateway.compression.perplexity.prune import MARK, abridged, losses, may_go, surprise, words

SENTENCE = "There was a mill that is owned by the old miller of the town. "


def free(text: str) -> list[str]:
    return [text[start:end] for (start, end), may in zip(words([text]), may_go([text]), strict=True) if may]


def test_only_small_words_may_go() -> None:
    assert free(SENTENCE) == ["was", "a", "that", "is", "the", "of", "the"]


@pytest.mark.parametrize(
    "text",
    [
        "It does not run, nor may anybody enter unless asked to.",
        "Bank of England and House of the Lords stood.",
        "Some 3 of them, 12 a day, in 1999 the most.",
        'He said "it is the end of a mill" then.',
        "Stated (the is of a was) and [that is of it] here.",
        "Call `the.is of` at https://a.example/the/of today.",
        "A is, was, the: of; and the",
    ],
)
def test_negations_names_numbers_quotations_and_signs_stay(text: str) -> None:
    assert free(text) in ([], ["then"], ["the"])


def test_surprise_of_a_word_is_that_of_its_tokens() -> None:
    tokens = [Token(0, 3, 0.0), Token(3, 6, 1.0), Token(6, 8, 2.0)]
    assert surprise(tokens, "The mill", [(0, 3), (4, 8)]) == [0.0, 3.0]


def test_what_the_question_tells_of_a_word_counts_as_loss() -> None:
    assert losses([True, True, False], [1.0, 1.0, 1.0], [1.5, 0.25, 1.0], told=2.0) == [1.0, 2.5, math.inf]


def test_the_least_loss_goes_first_and_no_more_than_is_needed() -> None:
    passage = Passage("Title\n", [SENTENCE, "It is the end."], prose=True)
    loss = [
        0.1 if text == "that" else 0.5 if may else math.inf
        for text, may in zip("".join(passage.units).split(), may_go(passage.units), strict=True)
    ]
    # With the mark, twelve characters must go: "that " first, then those that come first.
    shorter = abridged(passage, [0, 1], loss, 1)
    assert shorter == Passage(
        "Title\n", [MARK + SENTENCE.replace("was a mill that is", "mill"), passage.units[1]], True
    )


def test_a_passage_whose_words_are_not_enough_stays_as_it_is() -> None:
    passage = Passage("", [SENTENCE], prose=True)
    loss = [0.5 if may else math.inf for may in may_go(passage.units)]
    assert abridged(passage, [0], loss, 40) is None
    assert abridged(passage, [0], [9.0] * len(loss), 1) is None


@given(
    st.lists(
        st.sampled_from(["the", "of", "is", "mill", "Mill", "12", '"', "not", "a-1", "was,"]), min_size=1
    ),
    st.integers(1, 60),
)
def test_words_are_kept_or_gone_whole(said: list[str], excess: int) -> None:
    text = " ".join(said)
    passage = Passage("", [text], prose=True)
    loss = [0.0 if may else math.inf for may in may_go(passage.units)]
    shorter = abridged(passage, [0], loss, excess)
    if shorter is not None:
        assert len(shorter.whole) <= len(text) - excess
        left = iter(said)
        assert all(word in left for word in shorter.whole.removeprefix(MARK).split()), "a subsequence"
        gone = re.findall(r"12|not|Mill|a-1", text)
        assert re.findall(r"12|not|Mill|a-1", shorter.whole) == gone
