"""The arithmetic of a reservation, for a ledger that has a tenant's accounts in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gateway.config.schema import Limits
from gateway.state.ledger.base import (
    WINDOW_S,
    Ask,
    Kind,
    Refusal,
    Standing,
    level,
    nano_usd,
    until_tomorrow,
)

LEASE_SHARE = 16
"""A lease takes this part of what is left at most, so that other workers find the rest."""

Amounts = Callable[[Kind], Iterable[tuple[int, int]]]
"""Returns each second of the window, oldest first, and what was taken in it."""


class Window(msgspec.Struct, frozen=True):
    """What a tenant took in the last minute and spent today, and the seconds it last took anything in."""

    requests: int
    tokens: int
    last_request: int | None
    last_token: int | None
    spent: int

    def take(self, ask: Ask, limits: Limits, now: float, amounts: Amounts) -> tuple[int, int] | Refusal:
        """Return the tokens and nano-dollars that a request gets, or why it gets nothing."""
        tokens, money = ask.tokens, ask.nano_usd
        if limits.rpm is not None and self.requests >= limits.rpm:
            retry_s = _wait(amounts(Kind.REQUESTS), self.requests + 1 - limits.rpm, now)
            return Refusal(Kind.REQUESTS, retry_s, self.standing(limits, now), limits.rpm, self.requests, 1)
        if limits.tpm is not None:
            tokens = min(tokens, limits.tpm - self.tokens)
            if tokens < ask.least_tokens:
                asked = ask.least_tokens
                excess = self.tokens + asked - limits.tpm
                never = asked > limits.tpm
                return Refusal(
                    Kind.TOKENS,
                    None if never else _wait(amounts(Kind.TOKENS), excess, now),
                    self.standing(limits, now),
                    limits.tpm,
                    self.tokens,
                    asked,
                )
        if limits.usd_per_day is not None:
            budget = nano_usd(limits.usd_per_day)
            money = min(money, budget - self.spent)
            if money < ask.least_nano_usd:
                asked = ask.least_nano_usd
                retry = None if asked > budget else until_tomorrow(now)
                return Refusal(Kind.USD, retry, self.standing(limits, now), budget, self.spent, asked)
        return tokens, money

    def room(self, ask: Ask, limits: Limits) -> int:
        """Return for how many requests like this one a lease may be: 1 beyond half of any limit."""
        budget = None if limits.usd_per_day is None else nano_usd(limits.usd_per_day)
        most = [
            0 if 2 * used >= limit else (limit - used) // LEASE_SHARE // max(1, each)
            for limit, used, each in (
                (limits.rpm, self.requests, 1),
                (limits.tpm, self.tokens, ask.tokens),
                (budget, self.spent, ask.nano_usd),
            )
            if limit is not None
        ]
        return max(1, min(most, default=1))

    def standing(self, limits: Limits, now: float) -> Standing:
        """Return how the rates stand."""
        return Standing(
            level(limits.rpm, self.requests, self.reset_s(self.last_request, now)),
            level(limits.tpm, self.tokens, self.reset_s(self.last_token, now)),
        )

    def after(self, tokens: int, now: float) -> Window:
        """Return the window once another request has been let in."""
        second = int(now)
        last_token = second if tokens else self.last_token
        return Window(self.requests + 1, self.tokens + tokens, second, last_token, self.spent)

    @staticmethod
    def reset_s(newest: int | None, now: float) -> float:
        """Return the seconds until nothing counts any more; `newest` is when anything was last taken."""
        return 0.0 if newest is None else newest + WINDOW_S + 1 - now


def first_second(now: float) -> int:
    """Return the oldest second that still counts."""
    return int(now) - WINDOW_S


def _wait(taken: Iterable[tuple[int, int]], excess: int, now: float) -> float:
    """Return the seconds until so much has left the window."""
    for second, amount in taken:
        excess -= amount
        if excess <= 0:
            return max(0.0, second + WINDOW_S + 1 - now)
    return float(WINDOW_S)
