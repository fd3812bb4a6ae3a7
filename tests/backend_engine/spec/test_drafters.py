"""Every draft is a continuation really seen, by this sequence or by its tenant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_engine.spec.base import Draft, Drafter, Want
from backend_engine.spec.ngram import NgramDrafter
from backend_engine.spec.suffix import SuffixDrafter
from tests.backend_engine.support.drafting import followed, propose, proposed, sequence_of

tokens = st.lists(st.integers(0, 4), min_size=1, max_size=40)

text_drafters = pytest.mark.parametrize("make", [NgramDrafter, SuffixDrafter])


@text_drafters
@settings(deadline=None)
@given(prompt=tokens, output=tokens, limit=st.integers(1, 10))
def test_a_draft_followed_this_context_before(
    make: Callable[[], Drafter], prompt: list[int], output: list[int], limit: int
) -> None:
    drafter, request = make(), sequence_of(prompt)
    for token in output:
        request.token_ids.append(token)
        [drafts] = drafter.propose([Want(request, limit)])
        for draft in drafts:
            assert 0 < len(draft.token_ids) <= limit
            context = request.token_ids[-draft.evidence :]
            assert len(context) == draft.evidence
            assert followed(request.token_ids, context, draft.token_ids)


@text_drafters
@settings(deadline=None)
@given(prompt=tokens, pieces=st.lists(tokens, min_size=1, max_size=4))
def test_growing_by_several_tokens_is_growing_by_each(
    make: Callable[[], Drafter], prompt: list[int], pieces: list[list[int]]
) -> None:
    slow, fast = make(), make()
    one, other = sequence_of(prompt), sequence_of(prompt)
    for piece in pieces:
        for token in piece:
            one.token_ids.append(token)
            last = propose(slow, one)
        other.token_ids += piece
        assert propose(fast, other) == last


@text_drafters
def test_a_repeated_passage_is_drafted(make: Callable[[], Drafter]) -> None:
    passage = list(range(100, 120))
    assert proposed(make(), sequence_of([1, *passage, 2], passage[:6]), limit=8) == tuple(passage[6:14])


@text_drafters
def test_text_without_repetition_gives_no_draft(make: Callable[[], Drafter]) -> None:
    assert propose(make(), sequence_of(range(50))) is None


@text_drafters
def test_drafts_come_in_the_order_of_the_requests(make: Callable[[], Drafter]) -> None:
    first = sequence_of([1, 2, 3, 4, 1, 2, 3])
    second = sequence_of([5, 6, 7, 8, 5, 6, 7])
    drafts = make().propose([Want(second, 1), Want(first, 1)])
    assert [[draft.token_ids for draft in of_one] for of_one in drafts] == [[(8,)], [(4,)]]


@text_drafters
def test_a_request_that_never_ran_can_be_let_go(make: Callable[[], Drafter]) -> None:
    make().finished(sequence_of([1, 2]))


ANSWER = list(range(200, 230))


def told(drafter: SuffixDrafter, *, salt: str, answer: list[int] = ANSWER) -> None:
    drafter.finished(sequence_of([1], answer, salt=salt))


def test_a_tenant_is_drafted_for_from_its_past_answers() -> None:
    drafter = SuffixDrafter()
    told(drafter, salt="a")
    draft = propose(drafter, sequence_of([9], ANSWER[:5], salt="a"), limit=4)
    assert draft == Draft(tuple(ANSWER[5:9]), 5, (1 / 1.5,) * 4, "answers")


def test_own_text_and_past_answers_are_offered_side_by_side() -> None:
    drafter = SuffixDrafter()
    told(drafter, salt="a", answer=[1, 2, 3, 4])
    [drafts] = drafter.propose([Want(sequence_of([2, 3, 5, 6], [1, 2, 3], salt="a"), 2)])
    assert [(draft.source, draft.token_ids) for draft in drafts] == [("own text", (5, 6)), ("answers", (4,))]


def test_an_answer_that_comes_while_a_sequence_runs_serves_it() -> None:
    drafter, running = SuffixDrafter(), sequence_of([9], ANSWER[:5], salt="a")
    assert not proposed(drafter, running)
    told(drafter, salt="a")
    running.token_ids.append(ANSWER[5])
    assert proposed(drafter, running, limit=2) == tuple(ANSWER[6:8])


@settings(deadline=None)
@given(
    mine=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    theirs=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), max_size=4),
)
def test_no_draft_depends_on_another_tenant(mine: list[int], theirs: list[list[int]]) -> None:
    alone, among = SuffixDrafter(), SuffixDrafter()
    for answer in theirs:
        told(among, salt="b", answer=answer)
    one, other = sequence_of([1], salt="a"), sequence_of([1], salt="a")
    for token in mine:
        one.token_ids.append(token)
        other.token_ids.append(token)
        assert propose(among, other) == propose(alone, one)


def test_no_draft_joins_two_answers() -> None:
    drafter = SuffixDrafter()
    told(drafter, salt="a", answer=[1, 2, 3])
    told(drafter, salt="a", answer=[4, 5, 6])
    assert proposed(drafter, sequence_of([9], [2, 3], salt="a")) == ()


def test_memory_of_a_tenant_is_bounded_and_keeps_the_latest() -> None:
    drafter = SuffixDrafter(tokens_per_tenant=100)
    for start in range(0, 5000, 50):
        told(drafter, salt="a", answer=list(range(start, start + 50)))
    [memory] = drafter._tenants.values()
    assert sum(len(automaton.tokens) for automaton in memory.generations) <= 200
    assert proposed(drafter, sequence_of([9], [4960, 4961], salt="a"), limit=1) == (4962,)
    assert not proposed(drafter, sequence_of([9], [60, 61], salt="a"))


def test_the_tenant_served_longest_ago_is_forgotten_first() -> None:
    drafter = SuffixDrafter(max_tenants=2)
    for salt in ("a", "b", "a", "c"):
        told(drafter, salt=salt)
    kept = {salt for salt in "abc" if proposed(drafter, sequence_of([9], ANSWER[:5], salt=salt))}
    assert kept == {"a", "c"}


@text_drafters
def test_nothing_is_held_of_a_finished_request(make: Callable[[], NgramDrafter | SuffixDrafter]) -> None:
    drafter, request = make(), sequence_of([1, 2, 1, 2])
    propose(drafter, request)
    drafter.finished(request)
    held = drafter._indexes if isinstance(drafter, NgramDrafter) else drafter._sequences
    assert not held
