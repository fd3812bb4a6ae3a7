"""Which strategies are tried, and in which order."""

from __future__ import annotations

import pytest

from gateway.compression.mode import WAYS, Way
from gateway.config.schema import Price
from gateway.window.choose import is_worth_it, order


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("Summarise this text.", "summarise"),
        ("What are the main points?", "summarise"),
        ("", "summarise"),
        ("Translate it.", "summarise"),
        ("How many bridges are there?", "window"),
        ("List all names.", "window"),
        ("When was the tower built?", "compress"),
    ],
)
def test_what_suits_the_question_comes_first(question: str, first: Way) -> None:
    found = order(question, WAYS, first=None, longer_is_worth_it=False)
    assert found[0] == first and set(found) == set(WAYS)


def test_a_longer_model_comes_first_for_a_fact_if_it_is_worth_it() -> None:
    found = order("When was the tower built?", WAYS, first=None, longer_is_worth_it=True)
    assert found == ["longer", "compress", "retrieve", "window", "summarise"]


def test_only_what_is_allowed_is_tried_and_the_callers_wish_first() -> None:
    found = order("Summarise it.", ("retrieve", "window"), first="retrieve", longer_is_worth_it=True)
    assert found == ["retrieve", "window"]


def test_a_price_is_weighed() -> None:
    cheap, dear = Price(input=0.1), Price(input=10)
    assert is_worth_it(100_000, cheap, 8000, None) and not is_worth_it(100_000, dear, 8000, cheap)
    assert is_worth_it(100_000, None, 8000, dear)
    # What the request costs anyway counts.
    assert is_worth_it(9000, dear, 8000, dear)
