"""When a conversation stays with the tier that answered its last turn although the policy says a smaller one.

After a hard turn it does: "now commit it" is easy to say and needs what was understood before. Else only if
changing costs more than it saves: the larger tier has most of the prompt in its cache, the smaller one would
read all of it anew.
"""

from __future__ import annotations

from gateway.config.schema import Price
from gateway.routing.sessions import Turn

ANSWER_TOKENS = 256
"""What an answer is taken to have when prices are compared."""


def stays(turn: Turn, tier: int, prices: tuple[Price | None, ...], tokens: int) -> str | None:
    """Return why a turn stays with `turn.tier` instead of `tier`, None if it does not."""
    last = turn.tier
    if last is None or tier >= last:
        return None
    if turn.stay:
        return f"a hard turn was answered there, so {turn.stay} more {'stay' if turn.stay > 1 else 'stays'}"
    here, there = prices[last], prices[tier]
    if here is None or there is None or not turn.warm.get(last):
        return None
    stay = _cost(here, tokens, turn.warm.get(last, 0.0))
    change = _cost(there, tokens, turn.warm.get(tier, 0.0))
    if stay > change:
        return None
    return f"{turn.warm[last]:.0%} of the prompt is in its cache, and reading it anew elsewhere costs as much"


def _cost(price: Price, tokens: int, warm: float) -> float:
    read = price.input if price.cache_read is None else price.cache_read
    return tokens * (warm * read + (1 - warm) * price.input) + ANSWER_TOKENS * price.output
