"""How much of an answer stands in what it was given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.after.grounding import grounding_signs

GIVEN = "Order 4711 for Ines in Porto: 12 lamps, 7 clocks.\nHow many clocks were ordered?"


def test_an_answer_that_is_read_off_has_its_words_and_numbers_there() -> None:
    signs = grounding_signs(GIVEN, "7 clocks were ordered.")

    assert signs["given_words"] == signs["given_numbers"] == 1
    assert signs["given_pairs"] == 1


def test_words_and_numbers_from_nowhere_count_against_it() -> None:
    signs = grounding_signs(GIVEN, "9 mirrors went to Lisbon.")

    assert signs["given_words"] == signs["given_numbers"] == signs["given_pairs"] == 0
    assert signs["has_numbers"] == 1


def test_the_order_of_words_counts_too() -> None:
    mixed = grounding_signs(GIVEN, "ordered clocks lamps Ines")

    assert mixed["given_words"] == 1
    assert mixed["given_pairs"] == 0


def test_an_answer_without_words_has_no_signs() -> None:
    assert grounding_signs(GIVEN, " ... ") == {}


@given(st.text(), st.text())
def test_all_are_shares(prompt: str, answer: str) -> None:
    assert all(0 <= value <= 1 for value in grounding_signs(prompt, answer).values())
