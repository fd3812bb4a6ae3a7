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
    sure = Token(log(0.9), (log(0.9), log(0.05)))
    torn = Token(log(0.5), (log(0.5), log(0.5)))

    signs = logprob_signs([sure, torn])

    assert signs["margin_q10"] == pytest.approx(0.1 * log(18))
    assert signs["entropy_most"] == pytest.approx(log(2))
    assert 0 < logprob_signs([sure])["entropy_most"] < logprob_signs([torn])["entropy_most"]


def test_beyond_sure_nothing_counts() -> None:
    signs = [logprob_signs([Token(log(p), (log(p), log(q)))]) for p, q in ((0.96, 0.04), (0.999, 0.0001))]

    assert [sign["entropy_most"] for sign in signs] == [0, 0]
    assert signs[0]["margin_mean"] == signs[1]["margin_mean"] == pytest.approx(log(19))


def test_alternatives_may_come_in_any_order() -> None:
    token = Token(log(0.6), (log(0.1), log(0.6), log(0.3)))

    assert logprob_signs([token])["margin_mean"] == pytest.approx(log(2))


def test_without_alternatives_there_is_no_margin() -> None:
    assert logprob_signs([Token(-1.0)])["margin_mean"] == 0


def test_an_impossible_token_does_not_swamp_the_others() -> None:
    assert logprob_signs([Token(-9999.0), Token(0.0)])["logprob_mean"] == -10


def test_without_tokens_there_are_no_signs() -> None:
    assert logprob_signs([]) == {}
