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

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.config.schema import Limits

WINDOW_S = 60
DAY_S = 86400
NANO = 1_000_000_000


class Kind(StrEnum):
    """What a limit is about."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    USD = "usd"


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request may take. If less than `tokens` or `nano_usd` is left, the least will do."""

    tokens: int = 0
    nano_usd: int = 0
    least_tokens: int = 0
    least_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Used:
    """What it took in the end."""

    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """One request's place in the accounts: what it holds, and the second and day that holds it."""

    tenant: str
    second: int
    day: int
    tokens: int
    nano_usd: int
    hold: str = ""
    """The store's own name for it, where it needs one."""


@dataclass(frozen=True, slots=True)
class Level:
    """Where a rate stands after a request was admitted or refused."""

    limit: int
    remaining: int
    reset_s: float
    """Seconds until nothing of what was taken counts any more."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The rates of a tenant that are limited."""

    requests: Level | None
    tokens: Level | None


@dataclass(frozen=True, slots=True)
class Grant:
    """The request may run; its reservation must be settled."""

    reservation: Reservation
    standing: Standing


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing was taken. `retry_after_s` is None if the request is larger than the limit itself."""

    kind: Kind
    retry_after_s: float | None
    standing: Standing
    limit: int
    used: int
    asked: int
    """Of `kind`: its limit, what is taken, and the least that the request needs."""


class Ledger(Protocol):
    """Accounts that several processes may share; every change is atomic between all of them."""

    async def reserve(self, tenant: str, limits: Limits, ask: Ask) -> Grant | Refusal:
        """Take one request and what it asks for, or nothing. Raises StateUnavailable.

        Cancelled, it takes nothing.
        """

    def settle(self, reservation: Reservation, used: Used) -> None:
        """Put what was really used in the place of a reservation.

        Never fails and never waits: if the store does not answer now, it is done when it does.
        """

    async def close(self) -> None:
        """Finish what is to be settled, if the store answers, and close."""


def nano_usd(usd: float) -> int:
    """Return US dollars as nano-dollars."""
    return round(usd * NANO)


def level(limit: int | None, used: int, newest: int | None, now: float) -> Level | None:
    """Return where a rate stands; `newest` is the last second in which anything was taken."""
    if limit is None:
        return None
    reset_s = 0.0 if newest is None else max(0.0, newest + WINDOW_S + 1 - now)
    return Level(limit, max(0, limit - used), reset_s)


def until_tomorrow(now: float) -> float:
    """Return the seconds until the next day of UTC."""
    return DAY_S - now % DAY_S
