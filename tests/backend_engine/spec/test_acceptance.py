"""Rates start from the evidence, follow what was said, and differ by source."""

from __future__ import annotations

import pytest

from backend_engine.spec.acceptance import LEAST_CHANCE, AcceptanceRates, Tally, num_right
from backend_engine.spec.base import Draft


def text(length: int = 1, evidence: int = 4, source: str = "own text") -> Draft:
    return Draft(tuple(range(length)), evidence, source=source)


def chance(rates: AcceptanceRates, draft: Draft, sequence: Tally | None = None) -> float:
    """Return the chance of the first token; 0 for one that is not worth looking at."""
    return next(iter(rates.chances(sequence or Tally(), draft)), 0.0)


def test_before_experience_more_evidence_means_a_higher_rate() -> None:
    rates = AcceptanceRates()
    values = [chance(rates, text(evidence=evidence)) for evidence in range(1, 40)]
    assert values == sorted(values)
    assert 0 < values[0] <= 0.5 < values[-1] < 1


def test_each_token_of_a_text_is_evidence_for_the_next() -> None:
    draft = Draft((1, 2, 3), 3, (0.9, 0.9, 0.9))
    first, second, third = AcceptanceRates().chances(Tally(), draft)
    assert first < second < third


@pytest.mark.parametrize("truth", [0.3, 0.6, 0.95])
def test_the_rate_of_all_sequences_tends_to_the_share_that_was_right(truth: float) -> None:
    rates = AcceptanceRates()
    for number in range(400):
        right = (number * 61 % 100) < 100 * truth
        rates.learn(Tally(), text(), [0 if right else 9])
    assert chance(rates, text()) == pytest.approx(truth, abs=0.08)
    assert chance(rates, text(evidence=5)) == chance(AcceptanceRates(), text(evidence=5))
    assert chance(rates, text(source="answers")) == chance(AcceptanceRates(), text())


def test_a_sequence_that_fares_worse_than_others_has_a_lower_rate() -> None:
    rates = AcceptanceRates()
    for _ in range(50):
        rates.learn(Tally(), text(4), [0, 1, 2, 3])
    unlucky = Tally()
    for _ in range(10):
        rates.learn(unlucky, text(4), [9])
    assert chance(rates, text(4), unlucky) < 0.5 * chance(rates, text(4))


def test_tokens_after_the_first_wrong_one_are_no_experience() -> None:
    rates, one, other = AcceptanceRates(), Tally(), Tally()
    rates.learn(one, text(3), [0, 1, 9])
    AcceptanceRates().learn(other, text(16), [0, 1, 9, 3, 4])
    assert one == other


def test_a_draft_that_outlasts_what_was_said_has_not_failed() -> None:
    rates = AcceptanceRates()
    before = chance(rates, text(8))
    rates.learn(Tally(), text(8), [0, 1])
    assert chance(rates, text(8)) > before


def test_bad_times_end_although_nothing_is_tried() -> None:
    rates = AcceptanceRates()
    for _ in range(100):
        rates.learn(Tally(), text(), [9])
    assert chance(rates, text()) == 0, "not even looked at"
    for _ in range(300):
        rates.learn(Tally(), text(), [0])
    assert chance(rates, text()) > 0.8


def test_a_model_is_taken_at_its_word_until_experience_says_otherwise() -> None:
    rates = AcceptanceRates()
    said = [Draft((1,), shares=(share,), source="model") for share in (0.3, 0.7, 0.95)]
    assert [chance(rates, draft) for draft in said] == [0.3, 0.7, 0.95]
    draft = Draft((1, 2), shares=(0.7, 0.3), source="model")
    for number in range(300):
        rates.learn(Tally(), draft, [1, 9] if number % 2 else [9])
    assert chance(rates, said[1]) == pytest.approx(0.5, abs=0.1)
    assert chance(rates, said[0]) == 0, "it came after right ones only, and was never right itself"
    assert chance(rates, Draft((1,), shares=(0.5,), source="model")) == 0.5


def test_the_rest_of_a_draft_that_is_hardly_ever_right_so_far_is_left_out() -> None:
    chances = AcceptanceRates().chances(Tally(), Draft((1,) * 16, shares=(0.5,) * 16, source="model"))
    assert chances == (0.5, 0.5)
    assert LEAST_CHANCE > 0.5**3


@pytest.mark.parametrize(
    ("drafted", "said", "right"),
    [((1, 2, 3), [1, 2, 9], 2), ((1, 2), [1, 2, 3], 2), ((1, 2), [1], 1), ((), [1], 0)],
)
def test_right_tokens_are_counted_up_to_the_first_wrong_one(
    drafted: tuple[int, ...], said: list[int], right: int
) -> None:
    assert num_right(drafted, said) == right
