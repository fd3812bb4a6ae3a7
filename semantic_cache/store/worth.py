"""How much longer an answer stays than its last use says, when room is needed: dear and small ones stay.

Eviction takes whatever has the earliest moment of use plus credit. The credit grows with the logarithm of
what a KiB of it would cost to get again, so that no price makes an answer stay for ever (GreedyDual-Size, Cao
and Irani 1997, with time in the place of its inflation).
"""

from __future__ import annotations

import math

from semantic_cache.entry import Entry

HOUR_MS = 3_600_000
# A second of waiting is worth as much as this many millionths of a dollar.
_MICRO_USD_PER_S = 10.0


def credit_ms(entry: Entry, size: int) -> int:
    """Return milliseconds to add to the time of its last use: an hour for each doubling of price a KiB."""
    price = entry.cost_usd * 1e6 + entry.cost_s * _MICRO_USD_PER_S
    if not price > 0:
        return 0
    return int(HOUR_MS * math.log2(1 + price / max(1.0, size / 1024)))
