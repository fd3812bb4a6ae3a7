"""Largest first: who is cut, and to what size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.window.level import level


@given(st.lists(st.integers(0, 10_000), max_size=8), st.integers(0, 20_000))
def test_all_of_them_fit_and_none_could_be_longer(sizes: list[int], room: int) -> None:
    found = level(sizes, room)
    assert sum(min(size, found) for size in sizes) <= room
    if sum(sizes) > room:
        # One token more for each would be too much.
        assert sum(min(size, found + 1) for size in sizes) > room


def test_only_the_largest_becomes_shorter() -> None:
    assert level([10, 100, 1000], 500) == 390
    assert level([10, 20], 500) == 20 and level([], 5) == 0
