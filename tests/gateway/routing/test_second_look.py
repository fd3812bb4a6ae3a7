from __future__ import annotations

import json
import math
from typing import Any

import pytest

from gateway.routing.second_look import CLEAR, final_numbers_agree, is_clear, probability_of_yes
from gateway.subrequests import Said
from router.after.signs import AnswerSigns


def said(text: str, **tops: float) -> Said:
    """An answer whose first token had these probabilities."""
    choice: dict[str, Any] = {"message": {"content": text}}
    if tops:
        entries = [{"token": f" {word}", "logprob": math.log(p)} for word, p in tops.items()]
        choice["logprobs"] = {"content": [entries[0] | {"top_logprobs": entries}]}
    return Said(text, "stop", 200, json.dumps({"choices": [choice]}).encode())


@pytest.mark.parametrize(
    ("answer", "probability"),
    [
        (said("Yes", Yes=0.6, No=0.2), 0.75),
        (said("no", no=0.5, yes=0.3, YES=0.2), 0.5),
        (said("Perhaps", Perhaps=0.95, yes=0.01), None),
        (said("Yes."), 1.0),
        (said("**No**, it is wrong"), 0.0),
        (said("Perhaps"), None),
        (said(""), None),
    ],
)
def test_yes_has_the_probability_of_the_first_token_or_that_of_the_word(
    answer: Said, probability: float | None
) -> None:
    assert probability_of_yes(answer) == (None if probability is None else pytest.approx(probability))


@pytest.mark.parametrize(
    ("mine", "theirs", "same"),
    [
        ("2 * 3 = 6", "So the answer is 6.", True),
        ("It costs $1,250.00", "1250", True),
        ("6 of 7", "7\nAnswer: 6", False),
        ("6", "six", False),
        ("Answer: 6\n\n", "5 + 1\nis 6", True),
    ],
)
def test_answers_agree_that_end_in_the_same_number(mine: str, theirs: str, same: bool) -> None:
    assert final_numbers_agree(mine, theirs) is same


def test_an_answer_is_clear_by_its_probabilities_or_because_it_is_of_no_use() -> None:
    assert is_clear(AnswerSigns({"logprob_q10": CLEAR}, None, ()))
    assert is_clear(AnswerSigns({}, "cut", ()))
    assert not is_clear(AnswerSigns({"logprob_q10": CLEAR - 0.01}, None, ()))
    assert not is_clear(AnswerSigns({}, None, ("logprobs",)))
