"""What a ledger asks of the store behind it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gateway.config.schema import Limits
from gateway.state.ledger.base import Ask, Refusal
from gateway.state.ledger.lease import Lease
from gateway.state.ledger.window import Window


class Taken(msgspec.Struct, frozen=True):
    """A lease, and what the accounts looked like before it was taken."""

    lease: Lease
    now: float
    """Unix time by the accounts' clock, in the lease's second."""
    before: Window
    room: int
    """The most requests that the lease could have been for; 1 if the tenant is near a limit."""


class Accounts(Protocol):
    """Accounts that several processes may share; every change is atomic between all of them."""

    async def take(self, tenant: str, limits: Limits, ask: Ask, times: int) -> Taken | Refusal:
        """Take room for so many requests like this one if the tenant has plenty left, or else for one.

        What waits to be recorded of the tenant's leases is recorded in the same step. Raises
        StateUnavailable. Cancelled, it takes nothing.
        """

    def settle(self, lease: Lease) -> None:
        """Record how a lease stands.

        Never fails and never waits: it is done with the next `take`, or soon; if the store does not answer
        then, when it does.
        """

    async def close(self) -> None:
        """Finish what is to be recorded, if the store answers, and close."""
