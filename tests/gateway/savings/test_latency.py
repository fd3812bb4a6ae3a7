"""What a model takes for so many tokens, as it was seen to."""

from __future__ import annotations

from random import Random

import pytest

from gateway.config.schema import Model
from gateway.exchange import Call
from gateway.savings.latency import Latencies
from gateway.wire.usage import PromptDetails, Usage


def see(
    latencies: Latencies, read: int, written: int, seconds: float, *, cached: int = 0, **more: object
) -> None:
    call = Call("far", "m", Model("far"), started_s=5.0, ended_s=5.0 + seconds, status=200)
    call.outcome.usage = Usage(read + cached, written, PromptDetails(cached))
    for name, value in more.items():
        setattr(call, name, value)
    latencies.see(call)


def test_it_tells_tokens_read_from_tokens_written() -> None:
    latencies, chance = Latencies(), Random(1)
    for _ in range(200):
        read, written = chance.randrange(5000), chance.randrange(500)
        see(latencies, read, written, 0.3 + 0.0002 * read + 0.01 * written, cached=chance.randrange(3000))
    assert latencies.seconds("m", 1000, 100) == pytest.approx(1.5, rel=1e-3)
    assert latencies.seconds_per_token_read("m") == pytest.approx(0.0002, rel=1e-3)


def test_of_what_was_seldom_or_never_seen_it_says_nothing() -> None:
    latencies = Latencies()
    assert latencies.seconds("m", 1, 1) is None
    for _ in range(5):
        see(latencies, 10, 10, 1.0)
    assert latencies.seconds("m", 1, 1) is None
    assert latencies.seconds_per_token_read("m") == 0.0


def test_where_tokens_never_vary_it_is_the_mean() -> None:
    latencies = Latencies()
    for seconds in (1.0, 2.0) * 10:
        see(latencies, 100, 10, seconds)
    assert latencies.seconds("m", 5000, 900) == pytest.approx(1.5, rel=0.02)


def test_tokens_that_hardly_vary_tell_nothing_of_others() -> None:
    latencies, chance = Latencies(), Random(2)
    for _ in range(50):
        see(latencies, 1016 + chance.randrange(-5, 6), 150, 1.5 + chance.random() / 5)
    assert latencies.seconds("m", 0, 150) == pytest.approx(1.6, abs=0.05)


def test_more_tokens_never_take_less_time() -> None:
    latencies = Latencies()
    for at in range(50):
        see(latencies, at, 100 - at, 10.0 - 0.1 * at)
    less, more = latencies.seconds("m", 0, 0), latencies.seconds("m", 10_000, 0)
    assert less is not None and more is not None
    assert less <= more


def test_what_failed_or_runs_teaches_nothing() -> None:
    latencies = Latencies()
    for _ in range(20):
        see(latencies, 1, 1, 1.0, error="500")
        see(latencies, 1, 1, 1.0, status=500)
        see(latencies, 1, 1, 1.0, ended_s=None)
    assert latencies.seconds("m", 1, 1) is None


def test_it_forgets_how_fast_a_model_was() -> None:
    latencies = Latencies()
    for seconds in (1.0,) * 300 + (5.0,) * 600:
        see(latencies, 100, 10, seconds)
    assert latencies.seconds("m", 100, 10) == pytest.approx(5.0, rel=0.01)
