"""Quantities are exact values, however they are written."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.gates.quantities import quantities
from semantic_cache.gates.text import parse


def values(text: str) -> list[tuple[Fraction, str]]:
    return [(q.value, q.kind) for q in quantities(parse(text))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("twenty-five eggs", "25 eggs"),
        ("a dozen roses", "12 roses"),
        ("two dozen roses", "24 roses"),
        ("twice as much", "2 times as much"),
        ("half the fee", "1/2 the fee"),
        ("half the fee", "50% of the fee"),
        ("3.5k users", "3,500 users"),
        ("one hundred and five days", "105 days"),
        ("three million people", "3,000,000 people"),
        ("2 1/2 hours", "2.5 hours"),
        ("2½ hours", "2.5 hours"),
        ("two thirds of it", "2/3 of it"),
        ("twenty percent", "20%"),
        ("the 3rd floor", "the third floor"),
        ("at 5:30 pm", "at 17:30"),
        ("at 7 am", "at 7:00"),
        ("$2,000.00", "$2000"),
        ("a ratio of 7:13", "a ratio of 7 to 13"),
    ],
)
def test_two_ways_to_write_one_quantity_are_equal(one: str, other: str) -> None:
    assert values(one) == values(other) != []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fifteen", "fifty"),
        ("0.5", "5"),
        ("1/3", "3"),
        ("5 pm", "5 am"),
        ("the 2nd", "2"),
        ("3k", "3"),
        ("10%", "10"),
    ],
)
def test_different_quantities_differ(one: str, other: str) -> None:
    assert values(one) != values(other)


@given(st.integers(0, 10**9))
def test_grouping_by_commas_changes_nothing(number: int) -> None:
    assert values(f"{number:,} crates") == values(f"{number} crates") == [(Fraction(number), "number")]


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert all(q.value is not None for q in quantities(parse(text)))


def test_a_second_is_a_time_and_the_second_a_place() -> None:
    assert values("how far per second") == []
    assert values("the second turn") == [(Fraction(2), "ordinal")]
