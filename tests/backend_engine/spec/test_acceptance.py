"""Rates start from the evidence, follow experience, and recover."""

from __future__ import annotations

import pytest

from backend_engine.spec.acceptance import AcceptanceRates, Calibration, Tally


def test_before_experience_more_evidence_means_a_higher_rate() -> None:
    rates = AcceptanceRates()
    values = [rates.rate(Tally(), evidence) for evidence in range(40)]
    assert values == sorted(values)
    assert 0 < values[0] < 0.5 < values[-1] < 1


@pytest.mark.parametrize("truth", [0.1, 0.6, 0.95])
def test_the_rate_of_all_sequences_tends_to_the_share_accepted(truth: float) -> None:
    rates = AcceptanceRates()
    for number in range(400):
        accepted = 1 if (number * 61 % 100) < 100 * truth else 0
        rates.verified(Tally(), 4, 1, accepted)
    assert rates.rate(Tally(), 4) == pytest.approx(truth, abs=0.08)
    assert rates.rate(Tally(), 5) == AcceptanceRates().rate(Tally(), 5)


def test_a_sequence_that_fares_worse_than_others_has_a_lower_rate() -> None:
    rates = AcceptanceRates()
    for _ in range(50):
        rates.verified(Tally(), 4, 4, 4)
    unlucky = Tally()
    for _ in range(10):
        rates.verified(unlucky, 4, 4, 0)
    assert rates.rate(unlucky, 4) < 0.4 < rates.rate(Tally(), 4)


def test_tokens_after_the_first_wrong_one_are_no_experience() -> None:
    rates, one, other = AcceptanceRates(), Tally(), Tally()
    rates.verified(one, 4, 3, 2)
    rates.verified(other, 4, 16, 2)
    assert one == other


def test_bad_experience_fades_when_drafts_are_passed_over() -> None:
    rates, sequence = AcceptanceRates(), Tally()
    fresh = rates.rate(sequence, 4)
    for _ in range(20):
        rates.verified(sequence, 4, 4, 0)
    assert rates.rate(sequence, 4) < 0.1
    for _ in range(1500):
        rates.passed_over(sequence, 4)
    assert rates.rate(sequence, 4) == pytest.approx(fresh, abs=0.01)


def test_shares_are_taken_at_their_word_until_experience_says_otherwise() -> None:
    calibration = Calibration()
    assert [calibration.rate(share) for share in (0.0, 0.3, 0.7, 1.0)] == [0.01, 0.3, 0.7, 0.99]
    for number in range(300):
        calibration.verified([0.7, 0.3], 1 if number % 2 else 0)
    assert calibration.rate(0.7) == pytest.approx(0.5, abs=0.1)
    assert calibration.rate(0.3) < 0.1, "it came after right ones only, and was never right itself"
    assert calibration.rate(0.5) == 0.5


def test_doubts_about_a_share_fade_when_drafts_are_passed_over() -> None:
    calibration = Calibration()
    for _ in range(100):
        calibration.verified([0.7], 0)
    assert calibration.rate(0.7) < 0.1
    for _ in range(1500):
        calibration.passed_over(0.7)
    assert calibration.rate(0.7) == pytest.approx(0.7, abs=0.01)
