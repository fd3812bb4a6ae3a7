"""Selective Context's numbers, by hand."""

from __future__ import annotations

from gateway.compression.perplexity.nll import Token
from gateway.compression.perplexity.selective import above, fitting, information

TEXT = "The mill. It burns."
TOKENS = [Token(0, 3, 0.0), Token(3, 8, 4.0), Token(8, 9, 0.5), Token(9, 12, 1.0), Token(12, 19, 2.5)]
UNITS = [(0, 10), (10, 19)]


def test_the_information_of_a_unit_is_that_of_its_tokens() -> None:
    assert information(TOKENS, TEXT, UNITS) == [4.5, 3.5]


def test_an_absolute_cut_says_the_same_however_much_comes_later() -> None:
    values = [4.5, 3.5, 4.0]
    assert above(values, 4.0) == {0, 2} == above([*values, 1.0, 9.0], 4.0) - {4}


def test_a_budget_is_spent_on_what_says_most() -> None:
    assert fitting([1.0, 3.0, 2.0], [5, 5, 5], 10) == {1, 2}
    # Nothing that says less takes the place of what did not fit.
    assert fitting([1.0, 3.0, 2.0], [1, 5, 6], 10) == {1}
