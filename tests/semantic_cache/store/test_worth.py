"""What an answer's price is worth to eviction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.store.worth import HOUR_MS, credit_ms
from tests.semantic_cache.support.samples import entry

USD = st.floats(0, 100)
SECONDS = st.floats(0, 600)
SIZES = st.integers(1, 1 << 20)


@given(USD, USD, SECONDS, SIZES)
def test_dearer_answers_never_get_less_and_none_gets_more_than_two_days(
    one: float, other: float, seconds: float, size: int
) -> None:
    credits = [credit_ms(entry(0.0, cost_usd=usd, cost_s=seconds), size) for usd in sorted((one, other))]
    assert 0 <= credits[0] <= credits[1] < 48 * HOUR_MS


@given(USD, SIZES, SIZES)
def test_smaller_answers_of_one_price_never_get_less(usd: float, one: int, other: int) -> None:
    small, large = sorted((one, other))
    dear = entry(0.0, cost_usd=usd)
    assert credit_ms(dear, small) >= credit_ms(dear, large)


def test_an_answer_without_a_price_gets_none_and_waiting_is_one() -> None:
    assert credit_ms(entry(0.0), 1000) == 0
    assert credit_ms(entry(0.0, cost_usd=float("nan")), 1000) == 0
    assert credit_ms(entry(0.0, cost_s=0.1), 1024) == HOUR_MS
