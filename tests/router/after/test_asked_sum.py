"""A sum that is asked for is done again."""

from __future__ import annotations

import pytest

from router.after.asked_sum import asked_sum, asked_sum_signs


@pytest.mark.parametrize(
    ("prompt", "value"),
    [
        ("What is 17 + 25?", 42),
        ("How much is 6 times 7?", 42),
        ("how much is 1,000 minus 1?", 999),
        ("Add 17 and 25.", 42),
        ("What is the sum of 3 and 4?", 7),
        ("Calculate: 3 * 4 - 2", 10),
        ("84 / 2 = ?", 42),
    ],
)
def test_bare_sums_are_read(prompt: str, value: float) -> None:
    assert asked_sum(prompt) == value


@pytest.mark.parametrize(
    "prompt",
    [
        "What happened in 2019-2020?",
        "What is 3 + 4 and what is 5 + 6?",
        "Of 12 jars 3 + 4 broke. How many are left?",
        "Who wrote it?",
        "What is 1 / 0?",
        "What is 1 + 1? " + "Think. " * 50,
    ],
)
def test_all_else_is_none(prompt: str) -> None:
    assert asked_sum(prompt) is None
    assert asked_sum_signs(prompt, "7") == {"asked_sum": 0}


@pytest.mark.parametrize("answer", ["42", "17 + 25 = 42, as 17 is no 7", "It is 42."])
def test_an_answer_with_the_result_is_right(answer: str) -> None:
    assert asked_sum_signs("What is 17 + 25?", answer) == {"asked_sum": 1}


@pytest.mark.parametrize("answer", ["41", "17 + 25 = 41, not 42", "No idea.", "42 is less than 43"])
def test_any_other_is_not(answer: str) -> None:
    assert asked_sum_signs("What is 17 + 25?", answer) == {"asked_sum": -1}
