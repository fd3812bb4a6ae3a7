"""What a model says about a text stands in it, or goes."""

from __future__ import annotations

import pytest

from gateway.window.grounding import Source, finished

SOURCE = Source("In 2019-2020 the mill sold 40,000 sacks for $3.5 million to client AB-17/x. It has 1 wheel.")


@pytest.mark.parametrize(
    "said",
    [
        "It sold 40000 sacks.",
        "It sold 40,000 sacks from 2019 on.",
        "The years 2019/2020 were good: 3.5 million.",
        "Client ab-17/x bought them.",
        "1. It has a wheel.",
        "Nothing is numbered here.",
    ],
)
def test_numbers_and_ids_of_the_text_are_grounded(said: str) -> None:
    assert SOURCE.grounded(said) == said


@pytest.mark.parametrize(
    "said", ["It sold 41,000 sacks.", "Client AB-18 did.", "In 2018 it burnt.", "It cost 3.6."]
)
def test_a_sentence_with_another_number_goes_and_the_others_stay(said: str) -> None:
    assert SOURCE.grounded(f"It is old. {said} It sold sacks.") == "It is old. It sold sacks."


def test_support_is_the_share_of_own_words_that_stand_in_the_text() -> None:
    assert SOURCE.support("The mill sold sacks") == 1.0
    assert SOURCE.support("The mill sold zebras") == pytest.approx(2 / 3)
    assert SOURCE.support("") == 0.0


def test_an_answer_that_was_cut_ends_with_its_last_whole_sentence() -> None:
    assert finished("One thing. Another thi") == "One thing."
    assert finished("One thing. Another thing.") == "One thing. Another thing."
    assert finished("Never whole") == "Never whole"


@pytest.mark.parametrize("sign", ["a", ".", "-", "1"])
def test_a_long_run_of_signs_is_soon_read(sign: str) -> None:
    source = Source(f"It sold 40 sacks. {sign * 1_000_000}")
    assert source.has_atoms_of("It sold 40.") and not source.has_atoms_of("It sold 41.")
