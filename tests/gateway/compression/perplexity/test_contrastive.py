"""LongLLMLingua's formulas, by hand."""

from __future__ import annotations

import pytest

from gateway.compression.perplexity.contrastive import contrast, ranks, rate_of_rank


def test_contrast_is_what_the_question_takes_off() -> None:
    assert contrast([3.0, 1.0], [1.0, 1.5]) == [2.0, -0.5]


def test_the_document_after_which_the_question_is_likeliest_comes_first() -> None:
    assert ranks([2.0, 1.0, 3.0, 1.0]) == [2, 0, 3, 1]


def test_rates_fall_with_the_rank_and_stay_shares() -> None:
    assert [rate_of_rank(0.5, rank, 3, 0.3) for rank in range(3)] == pytest.approx([0.8, 0.5, 0.2])
    assert [rate_of_rank(0.1, rank, 3, 0.3) for rank in range(3)] == pytest.approx([0.4, 0.1, 0.0])
    assert rate_of_rank(0.5, 0, 1) == 0.5
