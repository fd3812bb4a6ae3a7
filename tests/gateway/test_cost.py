from __future__ import annotations

import pytest

from gateway.config.schema import Price
from gateway.cost import cost_usd
from gateway.wire.usage import PromptDetails, Usage

USAGE = Usage(
    prompt_tokens=1000,
    completion_tokens=100,
    prompt_tokens_details=PromptDetails(cached_tokens=400, cache_write_tokens=200),
)


@pytest.mark.parametrize(
    ("price", "usd"),
    [
        (Price(), 0.0),
        (Price(input=2.0, output=10.0), (1000 * 2 + 100 * 10) / 1e6),
        (Price(input=2.0, output=10.0, cache_read=1.0), (600 * 2 + 400 * 1 + 100 * 10) / 1e6),
        (Price(input=2.0, cache_read=0.0, cache_write=4.0), (400 * 2 + 200 * 4) / 1e6),
    ],
)
def test_every_token_is_charged_once(price: Price, usd: float) -> None:
    assert cost_usd(USAGE, price) == pytest.approx(usd)


def test_details_that_contradict_the_total_charge_nothing_twice() -> None:
    odd = Usage(
        prompt_tokens=10, prompt_tokens_details=PromptDetails(cached_tokens=50, cache_write_tokens=50)
    )
    assert cost_usd(odd, Price(input=1.0, cache_read=1.0, cache_write=1.0)) == pytest.approx(10 / 1e6)
