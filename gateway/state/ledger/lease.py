"""Room for some requests that was taken from the accounts in one step, and what became of it.

A worker hands the room out, takes back what its requests did not use, and reports to the accounts now and
then. A report says how the whole lease stands and not what changed since the last one: what is charged in
the lease's own second and day only ever falls, and what was used beyond it only ever rises. So a report can
be sent again if nobody knows whether it arrived, and one that overtakes another does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from gateway.state.ledger.base import Ask, Standing, Used


class Reservation(msgspec.Struct, frozen=True):
    """One request's place in a lease: what it holds until it is settled."""

    lease: Lease
    tokens: int
    nano_usd: int


class Grant(msgspec.Struct, frozen=True):
    """The request may run; its reservation must be settled."""

    reservation: Reservation
    standing: Standing


class Report(NamedTuple):
    """How a lease stands: what its second and its day are charged, and what was used beyond that."""

    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0
    more_tokens: int = 0
    more_nano_usd: int = 0


@dataclass(slots=True, eq=False)
class Lease:
    """Requests, tokens and nano-dollars that were taken in one second, by the accounts' clock."""

    tenant: str
    second: int
    day: int
    requests: int
    tokens: int
    nano_usd: int
    name: str = ""
    """The store's own name for it, where it needs one."""
    more_tokens: int = 0
    more_nano_usd: int = 0
    free_requests: int = field(init=False)
    free_tokens: int = field(init=False)
    free_nano_usd: int = field(init=False)
    unsettled: int = 0
    """Requests that have a part of it and still run."""
    recorded: Report = field(init=False)
    """What the accounts are known to say of it."""

    def __post_init__(self) -> None:
        self.free_requests, self.free_tokens, self.free_nano_usd = self.requests, self.tokens, self.nano_usd
        self.recorded = self.report()

    def fits(self, ask: Ask) -> bool:
        """Return whether there is room for all that a request asks for."""
        return (
            self.free_requests > 0 and ask.tokens <= self.free_tokens and ask.nano_usd <= self.free_nano_usd
        )

    def hand_out(self, ask: Ask) -> Reservation:
        """Give one request its part: what it asks for, or what is left of that."""
        tokens, nano_usd = min(ask.tokens, self.free_tokens), min(ask.nano_usd, self.free_nano_usd)
        self.free_requests -= 1
        self.free_tokens -= tokens
        self.free_nano_usd -= nano_usd
        self.unsettled += 1
        return Reservation(self, tokens, nano_usd)

    def settle(self, reservation: Reservation, used: Used) -> None:
        """Put what a request used in the place of what it held."""
        self.unsettled -= 1
        self.requests += used.requests - 1
        more = used.tokens - reservation.tokens
        if more > 0:
            self.more_tokens += more
        else:
            self.tokens += more
        more = used.nano_usd - reservation.nano_usd
        if more > 0:
            self.more_nano_usd += more
        else:
            self.nano_usd += more

    def give_back(self) -> bool:
        """Hand out nothing more. Returns whether there was anything left."""
        if self.free_requests == self.free_tokens == self.free_nano_usd == 0:
            return False
        self.requests -= self.free_requests
        self.tokens -= self.free_tokens
        self.nano_usd -= self.free_nano_usd
        self.free_requests = self.free_tokens = self.free_nano_usd = 0
        return True

    def report(self) -> Report:
        """Return how it stands."""
        return Report(self.requests, self.tokens, self.nano_usd, self.more_tokens, self.more_nano_usd)

    def is_over(self) -> bool:
        """Return whether nothing will ever change any more."""
        return (
            self.unsettled == 0
            and self.free_requests == 0
            and self.free_tokens == 0
            and self.free_nano_usd == 0
        )
