"""Compressing is done where it was seen to pay."""

from __future__ import annotations

import pytest

from gateway.compression.economics import MOST_MODELS, Economics, Line
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


def pays(
    economics: Economics, price: Price | None, *, upstream: str = "up", model: str = "m", tokens: int = 10_000
) -> bool:
    return economics.gain(upstream, model, price, tokens).pays


def seen(prefill_s: float, *, cached: float = 0.0) -> Economics:
    """An upstream that takes so long for a thousand tokens."""
    economics = Economics()
    for tokens in (500, 1000, 2000, 4000) * 5:
        fresh = tokens * (1 - cached)
        economics.called(
            call(tokens, 0.2 + fresh / 1000 * prefill_s, cached=int(tokens * cached)), "m", compressed=False
        )
    return economics


def test_of_an_unknown_upstream_without_a_price_nothing_is_expected() -> None:
    assert not pays(Economics(), None)


def test_money_alone_can_be_worth_it() -> None:
    assert pays(Economics(), DEAR) and not pays(Economics(), CHEAP)


def test_a_slow_prefill_is_worth_it_and_a_quick_one_is_not() -> None:
    assert pays(seen(2.0), None) and not pays(seen(0.01), None)


def test_what_one_model_was_seen_to_do_says_nothing_of_another() -> None:
    assert not pays(seen(2.0), None, model="other")


def test_tokens_that_the_upstream_caches_anyway_save_less_money() -> None:
    price = Price(input=2.0, output=0, cache_read=0.0)
    assert pays(seen(0.01), price) and not pays(seen(0.01, cached=0.95), price)


def test_tokens_that_the_upstream_caches_anyway_save_less_time() -> None:
    assert pays(seen(0.5), None) and not pays(seen(0.5, cached=0.95), None)


@pytest.mark.parametrize("price", [DEAR, None])
def test_answers_that_grow_cost_more_than_they_save(price: Price | None) -> None:
    economics = seen(0.5)
    assert pays(economics, price)
    for _ in range(20):
        for output, compressed in ((100, False), (4000, True)):
            made = call(1000, 0.5, output=output)
            assert made.outcome.first_chunk_s is not None
            # A token takes 20 ms: waiting for more of them costs even where they have no price.
            made.ended_s = made.outcome.first_chunk_s + output * 0.02
            economics.called(made, "m", compressed=compressed)
    assert not pays(economics, price)
    assert economics.gain("up", "m", price, 10_000).shorter > 0


def test_one_long_answer_does_not_stop_compressing() -> None:
    economics = Economics()
    for number in range(20):
        economics.called(call(1000, 0.1, output=100), "m", compressed=False)
        economics.called(call(500, 0.1, output=4000 if number == 3 else 100), "m", compressed=True)
    assert pays(economics, DEAR)


def test_prompts_that_were_none_to_decide_about_say_nothing_of_growth() -> None:
    economics = Economics()
    for _ in range(20):
        economics.called(call(1000, 0.1, output=1), "m", compressed=None)
        economics.called(call(500, 0.1, output=4000), "m", compressed=True)
    assert pays(economics, DEAR) and not economics.knows_growth("up", "m")


def test_a_slow_compressor_does_not_pay() -> None:
    economics = seen(0.5)
    assert pays(economics, None)
    for _ in range(20):
        economics.compressed(1000, 500, 0.9)
    assert not pays(economics, None)


def test_a_failed_call_teaches_nothing() -> None:
    economics = Economics()
    for tokens in (500, 1000, 2000, 4000) * 5:
        failed = call(tokens, float(tokens))
        failed.error = "503"
        economics.called(failed, "m", compressed=False)
    assert not pays(economics, None)


def test_names_that_callers_invent_do_not_fill_the_memory() -> None:
    economics = seen(2.0)
    for number in range(3 * MOST_MODELS):
        economics.called(call(1000, 1.0), f"invented-{number}", compressed=None)
        if number % 100 == 0:
            economics.called(call(1000, 2.2), "m", compressed=None)
    assert len(economics) == MOST_MODELS and pays(economics, None)


def test_a_line_needs_points_that_differ() -> None:
    line = Line()
    for _ in range(50):
        line.see(100.0, 1.0)
    assert line.slope is None
    line = Line()
    for x in range(50):
        line.see(float(x), 3.0 * x + 7)
    assert line.slope == pytest.approx(3.0)
