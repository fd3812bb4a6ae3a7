"""How much of an answer stands in the text that its question was asked about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.after.grounding import grounding_signs

GIVEN = "Order 4711 for Ines in Porto: 12 lamps, 7 clocks.\n\nHow many clocks were ordered?"


def test_an_answer_that_is_read_off_has_its_words_and_numbers_there() -> None:
    signs = grounding_signs(GIVEN, "7 clocks were ordered.")

    assert signs == {"given_words": 1, "given_pairs": 1, "given_numbers": 1}


def test_words_and_numbers_from_nowhere_count_against_it() -> None:
    signs = grounding_signs(GIVEN, "9 mirrors went to Lisbon.")

    assert signs == {"given_words": 0, "given_pairs": 0, "given_numbers": 0}


def test_the_order_of_words_counts_too() -> None:
    mixed = grounding_signs(GIVEN, "ordered clocks lamps Ines")

    assert mixed == {"given_words": 1, "given_pairs": 0}


def test_without_a_text_or_an_answer_there_is_nothing_to_compare() -> None:
    assert (
        grounding_signs("How many clocks were ordered by Ines in Porto last year, if any at all?", "7") == {}
    )
    assert grounding_signs("Is it?\nYes?", "Yes.") == {}
    assert grounding_signs(GIVEN, " ... ") == {}


@given(st.text(), st.text())
def test_all_are_shares(question: str, answer: str) -> None:
    assert all(0 <= value <= 1 for value in grounding_signs(f"{GIVEN}\n{question}", answer).values())
