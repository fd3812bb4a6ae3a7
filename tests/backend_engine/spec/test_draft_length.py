"""Drafts are as long as pays: the best of all lengths, found by trying them all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_engine.spec.draft_length import Candidate, draft_lengths

candidates = st.lists(
    st.builds(Candidate, rates=st.lists(st.floats(0.7, 0.97), max_size=4).map(tuple)), min_size=1, max_size=3
)
increments = st.lists(st.floats(0, 2), min_size=20, max_size=20)


def per_token(each: float) -> Callable[[int], float]:
    """A step costs 1, and each token besides."""
    return lambda tokens: 1 + each * tokens


@settings(deadline=None)
@given(candidates, st.integers(0, 5), increments)
def test_no_other_lengths_give_more_tokens_a_second(
    chosen: list[Candidate], others: int, increments: list[float]
) -> None:
    count = len(chosen) + others
    times = list(itertools.accumulate(increments, initial=1.0))

    def tokens_per_second(lengths: Sequence[int]) -> float:
        expected = count + sum(
            math.prod(candidate.rates[:position])
            for candidate, length in zip(chosen, lengths, strict=True)
            for position in range(1, length + 1)
        )
        return expected / times[count + sum(lengths)]

    lengths = draft_lengths(chosen, num_sequences=count, seconds=times.__getitem__, budget=99)
    every = itertools.product(*(range(len(candidate.rates) + 1) for candidate in chosen))
    assert tokens_per_second(lengths) == pytest.approx(max(map(tokens_per_second, every)))


def test_free_tokens_are_all_taken_and_dear_ones_none() -> None:
    chosen = [Candidate((0.9,) * 8)]
    assert draft_lengths(chosen, num_sequences=1, seconds=lambda tokens: 1, budget=99) == [8]
    assert draft_lengths(chosen, num_sequences=1, seconds=float, budget=99) == [0]


def test_a_full_batch_wants_surer_drafts() -> None:
    def length(num_sequences: int) -> int:
        [length] = draft_lengths(
            [Candidate((0.6,) * 8)], num_sequences=num_sequences, seconds=per_token(0.1), budget=99
        )
        return length

    assert length(1) > length(8) >= length(32) == 0


def test_a_step_up_in_cost_is_crossed_if_it_pays_further_on() -> None:
    def tiles_of_eight(tokens: int) -> float:
        return 1 + 0.5 * ((tokens - 1) // 8)

    assert draft_lengths([Candidate((0.99,) * 8)], num_sequences=8, seconds=tiles_of_eight, budget=99) == [8]
    assert draft_lengths([Candidate((0.2,) * 16)], num_sequences=8, seconds=tiles_of_eight, budget=99) == [0]


def test_the_budget_goes_to_the_surest() -> None:
    chosen = [Candidate((0.3,) * 8), Candidate((0.9,) * 8)]
    assert draft_lengths(chosen, num_sequences=2, seconds=lambda tokens: 1, budget=4) == [0, 4]
