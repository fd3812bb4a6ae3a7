"""What an answer costs, from counted tokens and the configured price."""

from __future__ import annotations

from gateway.config.schema import Price
from gateway.wire.usage import Usage

_MILLION = 1_000_000


def cost_usd(usage: Usage, price: Price) -> float:
    """Return US dollars. Tokens read from or written to a cache are part of the input."""
    if usage.prompt_tokens_details is None:
        return (usage.input_tokens * price.input + usage.output_tokens * price.output) / _MILLION
    cached = min(usage.cached_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    read_price = price.input if price.cache_read is None else price.cache_read
    write_price = price.input if price.cache_write is None else price.cache_write
    return (
        (usage.input_tokens - cached - written) * price.input
        + cached * read_price
        + written * write_price
        + usage.output_tokens * price.output
    ) / _MILLION
