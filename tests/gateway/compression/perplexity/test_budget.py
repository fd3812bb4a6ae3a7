"""LLMLingua's formulas, by hand."""

from __future__ import annotations

import pytest

from gateway.compression.perplexity.budget import Components, coarse, documents_rate, gamma, iterative
from gateway.compression.perplexity.nll import Token


def test_documents_get_what_instruction_and_question_leave() -> None:
    # 0.25 of 1000 tokens are 250; the instruction takes 50 and half of the question's 100.
    rate = documents_rate(0.25, Components(50, 850, 100), question=0.5)
    assert rate == pytest.approx(150 / 850)


@pytest.mark.parametrize(("rate", "left"), [(0.05, 0.0), (1.0, 1.0)])
def test_a_rate_is_a_share(rate: float, left: float) -> None:
    assert documents_rate(rate, Components(50, 850, 100)) == left
    assert documents_rate(rate, Components(50, 0, 100)) == 1.0


def test_documents_that_surprise_most_are_kept_in_their_order() -> None:
    assert coarse([1.0, 3.0, 2.0, 0.5], [100, 100, 100, 100], 150) == [1, 2]
    assert coarse([1.0, 3.0], [100, 100], 0) == []


def test_gamma_is_the_value_at_the_rank() -> None:
    nlls = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert gamma(nlls, 0.4) == 3.0 and sum(nll > gamma(nlls, 0.4) for nll in nlls) == 2
    assert gamma(nlls, 1.0) == float("-inf") and gamma(nlls, 0.0) == 5.0


async def test_segments_are_told_after_what_was_kept_before_them() -> None:
    asked: list[tuple[str, str]] = []

    async def nlls(kept: str, rest: str) -> list[Token]:
        asked.append((kept, rest))
        # Upper-case letters surprise, unless they stand in what was kept already.
        return [
            Token(place, place + 1, 2.0 if letter.isupper() and letter not in kept else 1.0)
            for place, letter in enumerate(rest)
        ]

    assert await iterative("aBcDeBfG", 0.5, nlls, segment=4) == "BDG"
    assert asked == [("", "aBcDeBfG"), ("BD", "eBfG")]
