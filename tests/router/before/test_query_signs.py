"""What can be read off a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.before.query_signs import query_signs


@pytest.mark.parametrize(
    ("prompt", "sign"),
    [
        ("Fix this:\n```\nx = 1\n```", "code"),
        ("SELECT name FROM users gives nothing", "code"),
        ("Prove that the sum is even", "maths"),
        ("What is 12 * 7?", "maths"),
        ("Which of these is NOT a metal?", "negated"),
    ],
)
def test_kinds_of_query_are_told_apart(prompt: str, sign: str) -> None:
    assert query_signs(prompt)[sign] == 1
    assert query_signs("Name a river in Peru, please")[sign] == 0


def test_tools_are_a_sign() -> None:
    assert query_signs("Book a table", tools=True)["tools"] == 1


def test_length_counts_up_to_a_point() -> None:
    assert query_signs("a" * 500)["length"] == 0.5
    assert query_signs("a" * 50_000)["length"] == 4


@given(st.text())
def test_every_sign_is_small_and_not_negative(prompt: str) -> None:
    assert all(0 <= value <= 2000 for value in query_signs(prompt).values())


@pytest.mark.timeout(10)
def test_a_long_word_takes_no_longer_than_many_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.before.query_signs._LONGEST", 1_000_000)
    assert query_signs("7" * 1_000_000)["code"] == 0
    assert query_signs("x" * 500_000 + ".split(")["code"] == 1
