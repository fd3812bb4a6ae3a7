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
    automaton = automaton_of(tokens)
    length, state = automaton.repeated_suffix()
    assert length == longest_earlier(tokens)
    if length:
        end = automaton._end[state]
        assert end < len(tokens) - 1
        assert tokens[end + 1 - length : end + 1] == tokens[-length:]


@settings(deadline=None)
@given(texts.filter(bool), st.integers(1, 6))
def test_a_continuation_is_what_followed_most_often_and_says_how_often(tokens: list[int], limit: int) -> None:
    automaton = automaton_of(tokens)
    length, state = automaton.repeated_suffix()
    if not length:
        return
    context, seen = tokens[-length:], []
    drafted, shares = automaton.continuation(state, limit)
    for token, share in zip(drafted, shares, strict=True):
        # The last place of all has nothing after it yet.
        places = range(len(tokens) - len(context))
        followers = [tokens[at + len(context)] for at in places if tokens[at : at + len(context)] == context]
        assert followers.count(token) == max(followers.count(other) for other in followers)
        assert share == followers.count(token) / (len(followers) + 0.5)
        context = [*context, token]
        seen.append(token)
    assert len(seen) <= limit


def test_of_several_earlier_places_the_latest_is_continued() -> None:
    automaton = automaton_of([1, 2, 7, 1, 2, 8, 1, 2, 9, 1, 2])
    length, state = automaton.repeated_suffix()
    assert length == 2
    assert automaton.continuation(state, 2)[0] == (9, 1)


def test_what_followed_more_often_goes_before_what_followed_later() -> None:
    automaton = automaton_of([1, 2, 7, 1, 2, 7, 1, 2, 9, 1, 2])
    tokens, shares = automaton.continuation(automaton.repeated_suffix()[1], 1)
    assert tokens == (7,)
    assert shares == (2 / 3.5,)


def test_a_continuation_ends_where_too_few_places_go_on_so() -> None:
    automaton = automaton_of([1, 2, 7, 3, 1, 2, 7, 4, 1, 2, 7, 5, 1, 2])
    state = automaton.repeated_suffix()[1]
    assert automaton.continuation(state, 9, least=0.5)[0] == (7,)
    assert len(automaton.continuation(state, 9, least=0.3)[0]) > 1


def test_after_a_token_that_anything_may_follow_nothing_is_guessed() -> None:
    automaton = automaton_of([token for other in range(2, 90) for token in (1, other)] + [1])
    assert automaton.continuation(automaton.repeated_suffix()[1], 4) == ((), ())


def test_no_continuation_crosses_a_separator() -> None:
    automaton = automaton_of([1, 2, 3, SEPARATOR, 4])
    cursor = Cursor(automaton)
    cursor.advance(1)
    assert automaton.continuation(cursor.state, 9)[0] == (2, 3)
    for token in (2, 3):
        cursor.advance(token)
    assert automaton.continuation(cursor.state, 9)[0] == ()


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
        end = automaton._end[cursor.state]
        assert automaton.tokens[end + 1 - longest : end + 1] == text[-longest:]


def test_states_stay_in_proportion_to_the_text() -> None:
    automaton = automaton_of([0] * 3000 + [1, 0] * 1000)
    assert len(automaton._link) <= 2 * 5000
