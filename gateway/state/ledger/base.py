"""What is asked of a ledger, and the terms it speaks in.

**Rates** are a sliding window: in no 60 seconds does a tenant take more than its limit. A token bucket would
be one number instead of 61, but lets up to twice the limit through in the minute after a pause, and "requests
per minute: 60" should mean that. The window is counted in whole seconds of Unix time; the oldest one counts
as long as any part of it may lie within the last 60 seconds, so rounding is never in the tenant's favour.

**Money** is counted per day of UTC in whole nano-dollars (a token of a model at 0.15 USD per million is 150).

A request reserves what it may take before it runs and settles what it took afterwards: less than that is
given back to the second and the day it was taken from, more is added to the current second.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

WINDOW_S = 60
DAY_S = 86400
NANO = 1_000_000_000


class Kind(StrEnum):
    """What a limit is about."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    USD = "usd"


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What one request may take. If less than `tokens` or `nano_usd` is left, the least will do."""

    tokens: int = 0
    nano_usd: int = 0
    least_tokens: int = 0
    least_nano_usd: int = 0


class Used(msgspec.Struct, frozen=True, gc=False):
    """What it took in the end."""

    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0


class Level(msgspec.Struct, frozen=True, gc=False):
    """Where a rate stands after a request was admitted or refused."""

    limit: int
    remaining: int
    reset_s: float
    """Seconds until nothing of what was taken counts any more."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The rates of a tenant that are limited."""

    requests: Level | None
    tokens: Level | None


class Refusal(msgspec.Struct, frozen=True):
    """Nothing was taken. `retry_after_s` is None if the request is larger than the limit itself."""

    kind: Kind
    retry_after_s: float | None
    standing: Standing
    limit: int
    used: int
    asked: int
    """Of `kind`: its limit, what is taken, and the least that the request needs."""


def nano_usd(usd: float) -> int:
    """Return US dollars as nano-dollars."""
    return round(usd * NANO)


def level(limit: int | None, used: int, reset_s: float) -> Level | None:
    """Return where a rate stands, if it is limited."""
    return None if limit is None else Level(limit, max(0, limit - used), max(0.0, reset_s))


def until_tomorrow(now: float) -> float:
    """Return the seconds until the next day of UTC."""
    return DAY_S - now % DAY_S
