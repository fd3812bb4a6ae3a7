"""Which signs could be had, and which answers are of no use at all."""

from __future__ import annotations

import pytest

from router.after.logprobs import Token
from router.after.signs import SmallAnswer, signs_of


def test_what_an_upstream_does_not_give_is_named() -> None:
    assert signs_of(SmallAnswer("Why?", "Because.")).missing == ("logprobs", "finish_reason")
    assert signs_of(SmallAnswer("Why?", "Because.", "stop", tokens=[Token(-0.5)])).missing == ()


def test_token_signs_are_there_only_with_tokens() -> None:
    assert "logprob_mean" not in signs_of(SmallAnswer("Why?", "Because.")).values
    assert signs_of(SmallAnswer("Why?", "Because.", tokens=[Token(-0.5)])).values["logprob_mean"] == -0.5


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (SmallAnswer("Why?", " \n"), "empty"),
        (SmallAnswer("Why?", "Because of the", "length"), "cut"),
        (SmallAnswer("Why?", "Because", "stop", {"type": "json_object"}), "form"),
        (SmallAnswer("Why?", "I'm sorry, I can't help."), "refused"),
        (SmallAnswer("Why?", "so it is and so it goes " * 9), "looping"),
        (SmallAnswer("Why?", "Because it rained.", "stop"), None),
    ],
)
def test_answers_of_no_use_are_known(answer: SmallAnswer, broken: str | None) -> None:
    assert signs_of(answer).broken == broken
