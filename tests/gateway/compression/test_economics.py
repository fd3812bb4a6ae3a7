"""Compressing is done where it was seen to pay."""

from __future__ import annotations

import pytest

from gateway.compression.economics import Economics, Line
from gateway.config.schema import Model, Price
from gateway.exchange import Call
from gateway.wire.usage import PromptDetails, Usage

DEAR, CHEAP = Price(input=10, output=30), Price(input=0.01, output=0.01)


def call(
    tokens: int, seconds: float, *, output: int = 10, cached: int = 0, price: Price | None = None
) -> Call:
    made = Call("up", "m", Model("up", price=price), started_s=100.0, status=200)
    made.outcome.usage = Usage(tokens, output, PromptDetails(cached))
    made.outcome.first_chunk_s = 100.0 + seconds
    return made


def seen(prefill_s: float, *, cached: float = 0.0) -> Economics:
    """An upstream that takes so long for a thousand tokens."""
    economics = Economics()
    for tokens in (500, 1000, 2000, 4000) * 5:
        fresh = tokens * (1 - cached)
        economics.called(
            call(tokens, 0.2 + fresh / 1000 * prefill_s, cached=int(tokens * cached)), compressed=False
        )
    return economics


def test_of_an_unknown_upstream_without_a_price_nothing_is_expected() -> None:
    assert not Economics().pays("up", "m", None, 10_000)


def test_money_alone_can_be_worth_it() -> None:
    assert Economics().pays("up", "m", DEAR, 10_000) and not Economics().pays("up", "m", CHEAP, 10_000)


def test_a_slow_prefill_is_worth_it_and_a_quick_one_is_not() -> None:
    assert seen(2.0).pays("up", "m", None, 10_000) and not seen(0.01).pays("up", "m", None, 10_000)


def test_what_one_model_was_seen_to_do_says_nothing_of_another() -> None:
    assert not seen(2.0).pays("up", "other", None, 10_000)


def test_tokens_that_the_upstream_caches_anyway_save_less() -> None:
    price = Price(input=2.0, output=0, cache_read=0.0)
    assert seen(0.01).pays("up", "m", price, 10_000)
    assert not seen(0.01, cached=0.95).pays("up", "m", price, 10_000)


def test_answers_that_grow_cost_more_than_they_save() -> None:
    economics = Economics()
    for _ in range(20):
        economics.called(call(1000, 0.1, output=100), compressed=False)
        economics.called(call(500, 0.1, output=4000), compressed=True)
    assert not economics.pays("up", "m", DEAR, 10_000)


def test_a_slow_compressor_does_not_pay() -> None:
    economics = seen(0.5)
    assert economics.pays("up", "m", None, 10_000)
    for _ in range(20):
        economics.compressed(1000, 500, 0.9)
    assert not economics.pays("up", "m", None, 10_000)


def test_a_failed_call_teaches_nothing() -> None:
    economics = Economics()
    for tokens in (500, 1000, 2000, 4000) * 5:
        failed = call(tokens, float(tokens))
        failed.error = "503"
        economics.called(failed, compressed=False)
    assert not economics.pays("up", "m", None, 10_000)


def test_a_line_needs_points_that_differ() -> None:
    line = Line()
    for _ in range(50):
        line.see(100.0, 1.0)
    assert line.slope is None
    line = Line()
    for x in range(50):
        line.see(float(x), 3.0 * x + 7)
    assert line.slope == pytest.approx(3.0)
