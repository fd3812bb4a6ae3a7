"""What token probabilities say of an answer."""

from __future__ import annotations

from math import log

import pytest

from router.after.logprobs import Token, logprob_signs


def test_quantiles_see_the_weak_spot_that_the_mean_hides() -> None:
    signs = logprob_signs([Token(-0.1)] * 8 + [Token(-4.0)] * 2)

    assert signs["logprob_mean"] == pytest.approx(-0.88)
    assert signs["logprob_least"] == -4
    assert signs["logprob_q10"] == pytest.approx(-4)
    assert signs["logprob_q25"] == pytest.approx(-0.1)
    assert signs["unsure_tokens"] == pytest.approx(0.2)


def test_margins_and_entropy_come_from_the_alternatives() -> None:
    sure = Token(log(0.98), (log(0.98), log(0.01)))
    torn = Token(log(0.5), (log(0.5), log(0.5)))

    signs = logprob_signs([sure, torn])

    assert signs["margin_q10"] == pytest.approx(0.1 * log(98))
    assert signs["entropy_most"] == pytest.approx(log(2))
    assert logprob_signs([sure])["entropy_mean"] < logprob_signs([torn])["entropy_mean"]


def test_without_alternatives_there_is_no_margin() -> None:
    assert logprob_signs([Token(-1.0)])["margin_mean"] == 0


def test_an_impossible_token_does_not_swamp_the_others() -> None:
    assert logprob_signs([Token(-9999.0), Token(0.0)])["logprob_mean"] == -10


def test_without_tokens_there_are_no_signs() -> None:
    assert logprob_signs([]) == {}
