"""The automaton knows what a search through the whole text would find."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from backend_engine.spec.suffix_automaton import SEPARATOR, Cursor, SuffixAutomaton

texts = st.lists(st.integers(0, 3), max_size=60)


def automaton_of(tokens: list[int]) -> SuffixAutomaton:
    automaton = SuffixAutomaton()
    for token in tokens:
        automaton.extend(token)
    return automaton


def longest_earlier(tokens: list[int]) -> int:
    """Length of the longest suffix that also stands earlier, by trying all."""
    count = len(tokens)
    return max(
        size
        for size in range(count)
        if not size or any(tokens[at : at + size] == tokens[-size:] for at in range(count - size))
    )


@settings(deadline=None)
@given(texts.filter(bool))
def test_the_repeated_suffix_is_the_longest_and_stands_where_it_says(tokens: list[int]) -> None:
    length, end = automaton_of(tokens).repeated_suffix()
    assert length == longest_earlier(tokens)
    if length:
        assert end < len(tokens) - 1
        assert tokens[end + 1 - length : end + 1] == tokens[-length:]


def test_of_several_earlier_places_the_latest_is_known() -> None:
    automaton = automaton_of([1, 2, 7, 1, 2, 8, 1, 2, 9, 1, 2])
    assert automaton.repeated_suffix() == (2, 7)
    assert automaton.continuation(7, 2) == (9, 1)


def test_no_continuation_crosses_a_separator() -> None:
    automaton = automaton_of([1, 2, 3, SEPARATOR, 4])
    assert automaton.continuation(0, 9) == (2, 3)
    assert automaton.continuation(2, 9) == ()


@settings(deadline=None)
@given(texts, texts, texts)
def test_a_cursor_finds_the_longest_match_while_the_automaton_grows(
    before: list[int], text: list[int], after: list[int]
) -> None:
    automaton = automaton_of(before)
    cursor = Cursor(automaton)
    for token in text:
        cursor.advance(token)
    for token in after:
        automaton.extend(token)
    # What was matched before the growth still is, and names a true place.
    longest = max(
        size
        for size in range(len(text) + 1)
        if not size or any(before[at : at + size] == text[-size:] for at in range(len(before)))
    )
    assert cursor.matched == longest
    if longest:
        assert automaton.tokens[cursor.end + 1 - longest : cursor.end + 1] == text[-longest:]


def test_states_stay_in_proportion_to_the_text() -> None:
    automaton = automaton_of([0] * 3000 + [1, 0] * 1000)
    assert len(automaton._link) <= 2 * 5000
