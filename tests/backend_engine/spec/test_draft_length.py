"""Drafts are as long as pays: the best of all lengths, found by trying them all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_engine.spec.draft_length import Candidate, draft_lengths

candidates = st.lists(
    st.builds(Candidate, rate=st.floats(0.05, 0.97), longest=st.integers(0, 4)), min_size=1, max_size=3
)


def tokens_per_second(
    chosen: list[Candidate], lengths: list[int], num_sequences: int, seconds: float, each: float
) -> float:
    expected = num_sequences + sum(
        candidate.rate**position
        for candidate, length in zip(chosen, lengths, strict=True)
        for position in range(1, length + 1)
    )
    return expected / (seconds + each * sum(lengths))


@settings(deadline=None)
@given(candidates, st.integers(0, 5), st.floats(0.001, 2))
def test_no_other_lengths_give_more_tokens_a_second(
    chosen: list[Candidate], others: int, each: float
) -> None:
    count = len(chosen) + others
    lengths = draft_lengths(chosen, num_sequences=count, seconds=1, seconds_per_token=each, budget=99)
    best = max(
        tokens_per_second(chosen, list(tried), count, 1, each)
        for tried in itertools.product(*(range(candidate.longest + 1) for candidate in chosen))
    )
    assert tokens_per_second(chosen, lengths, count, 1, each) == pytest.approx(best)


def test_free_tokens_are_all_taken_and_dear_ones_none() -> None:
    chosen = [Candidate(0.5, 8)]
    free = draft_lengths(chosen, num_sequences=1, seconds=1, seconds_per_token=0, budget=99)
    dear = draft_lengths(chosen, num_sequences=1, seconds=1, seconds_per_token=1, budget=99)
    assert (free, dear) == ([8], [0])


def test_a_full_batch_wants_surer_drafts() -> None:
    def length(num_sequences: int) -> int:
        seconds = 1 + 0.1 * num_sequences
        [length] = draft_lengths(
            [Candidate(0.6, 8)],
            num_sequences=num_sequences,
            seconds=seconds,
            seconds_per_token=0.1,
            budget=99,
        )
        return length

    assert length(1) > length(8) >= length(32) == 0


def test_the_budget_goes_to_the_surest() -> None:
    chosen = [Candidate(0.3, 8), Candidate(0.9, 8)]
    lengths = draft_lengths(chosen, num_sequences=2, seconds=1, seconds_per_token=0, budget=4)
    assert lengths == [0, 4]
