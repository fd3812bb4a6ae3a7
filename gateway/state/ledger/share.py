"""What a worker has in hand for one tenant: a lease, and how far the limits are away as far as it knows."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from gateway.config.schema import Limits
from gateway.state.ledger.accounts import Taken
from gateway.state.ledger.base import WINDOW_S, Ask, Refusal, Standing, Used, level
from gateway.state.ledger.lease import Grant, Lease, Reservation

# Two machines' clocks do not quite agree on how long a second is.
_DRIFT_S = 0.002


@dataclass(slots=True, eq=False)
class Caller:
    """One who waits for a lease. His outcome is None if he shall ask the accounts himself."""

    limits: Limits
    ask: Ask
    outcome: asyncio.Future[Grant | Refusal | None]

    def answer(self, outcome: Grant | Refusal | None) -> None:
        """Let him go on, if he is still there."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


@dataclass(slots=True, eq=False)
class Share:
    """Times are on the ledger's clock, but for `second`, which is Unix time by the accounts' clock."""

    tenant: str
    lease: Lease | None = None
    limits: Limits | None = None
    """Those that the lease was taken under."""
    leasing: bool = True
    """Whether the tenant was far from its limits when it was last looked at."""
    second: int = 0
    good_until_s: float = 0.0
    handed_out: int = 0
    """Requests in this second."""
    requests: int = 0
    tokens: int = 0
    """Taken in the last minute: what the accounts said with the last lease, and what happened here since."""
    reset_s: float = 0.0
    tokens_reset_s: float = 0.0
    callers: deque[Caller] = field(default_factory=deque)
    fetching: asyncio.Task[None] | None = None

    def fits(self, limits: Limits, ask: Ask, now_s: float) -> bool:
        """Return whether a request can be admitted without asking the accounts."""
        return (
            self.lease is not None
            and now_s < self.good_until_s
            and self.lease.fits(ask)
            and (self.limits is limits or self.limits == limits)
        )

    def hand_out(self, ask: Ask, now_s: float) -> Grant:
        """Give a request its part of the lease."""
        assert self.lease is not None and self.limits is not None
        reservation = self.lease.hand_out(ask)
        self.handed_out += 1
        self.requests += 1
        self.tokens += reservation.tokens
        standing = Standing(
            level(self.limits.rpm, self.requests, self.reset_s - now_s),
            level(self.limits.tpm, self.tokens, self.tokens_reset_s - now_s),
        )
        return Grant(reservation, standing)

    def settled(self, reservation: Reservation, used: Used) -> None:
        """Note what a request gave back or took in addition."""
        more = used.tokens - reservation.tokens
        if reservation.lease.second >= self.second - WINDOW_S:
            self.requests += used.requests - 1
            self.tokens += more
        else:
            self.tokens += max(0, more)

    def next_size(self, now_s: float) -> int:
        """Return for how many requests the next lease should be."""
        return max(1, self.handed_out) if now_s < self.good_until_s else 1

    def install(self, taken: Taken, limits: Limits, asked_s: float) -> None:
        """Take over a lease that was asked for at `asked_s`."""
        lease, before = taken.lease, taken.before
        if lease.second != self.second:
            self.second, self.handed_out = lease.second, 0
        self.lease, self.limits = lease, limits
        self.good_until_s = asked_s + lease.second + 1 - taken.now - _DRIFT_S
        self.requests, self.tokens = before.requests, before.tokens
        self.reset_s = asked_s + before.reset_s(lease.second, taken.now)
        newest_token = lease.second if lease.tokens else before.last_token
        self.tokens_reset_s = asked_s + before.reset_s(newest_token, taken.now)

    def waiting(self) -> list[Caller]:
        """Return the callers that still wait, in their order, and forget the others."""
        self.callers = deque(caller for caller in self.callers if not caller.outcome.done())
        return list(self.callers)
