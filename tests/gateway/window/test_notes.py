"""A sentence of a note is kept if a place of the text bears it out, and that place comes with it."""

from __future__ import annotations

import pytest

from gateway.window.grounding import Source
from gateway.window.notes import Place, borne_out

PIECES = [
    "In 1704 the abbot paid 12 crowns for a lute.",
    "The station has 12 platforms and a clock.",
    "He kept it behind the altar until he died of fever in Quenby.",
]
PART = " ".join(PIECES)
QUESTION = "What is the password of the Ostrava pumping station?"


def kept(answer: str, question: str, fits: int | None = None) -> tuple[str, list[int]]:
    places = [Place(number, Source(text), number == fits) for number, text in enumerate(PIECES)]
    return borne_out(answer, question, PART, places)


@pytest.mark.parametrize("answer", ["NOTHING", "nothing.", "NOTHING is said about it.", "", "**NOTHING**"])
def test_nothing_is_no_note(answer: str) -> None:
    assert kept(answer, QUESTION) == ("", [])


def test_the_question_with_a_number_from_anywhere_is_not_kept() -> None:
    assert kept("The password of the Ostrava pumping station is 12.", QUESTION) == ("", [])


def test_a_short_answer_is_kept_where_the_words_of_the_question_stand() -> None:
    assert kept("The abbot paid 12 crowns.", "What did the abbot pay?") == ("The abbot paid 12 crowns.", [0])
    assert kept("It was in 1704.", "When did the abbot pay?") == ("It was in 1704.", [0])


def test_a_short_answer_in_the_questions_own_words_is_kept_where_the_place_fits_by_its_meaning() -> None:
    answer = "The monk's instrument was behind the altar."
    asked = "Where was the monk's instrument?"
    assert kept(answer, asked) == ("", [])
    assert kept(answer, asked, fits=2) == (answer, [2])


def test_what_says_a_lot_is_kept_wherever_it_stands() -> None:
    answer = "The abbot, who paid for the lute, died of fever in Quenby behind the altar."
    note, bearing = kept(answer, "Why did the project fail?")
    assert note == answer and set(bearing) <= {0, 2}


@pytest.mark.parametrize(
    "sentence", ["He paid 13 crowns for a lute.", "Dragons guard glass castles.", "What is it?"]
)
def test_what_stands_nowhere_goes_and_the_rest_stays(sentence: str) -> None:
    assert kept(f"{sentence} The abbot paid 12 crowns.", "What did the abbot pay?") == (
        "The abbot paid 12 crowns.",
        [0],
    )


def test_an_id_of_the_question_need_not_be_repeated_by_the_text() -> None:
    answer = "The abbot paid 12 crowns under FB-7."
    assert kept(answer, "What did the abbot pay under FB-7?", fits=0) == (answer, [0])
