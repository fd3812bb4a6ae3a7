"""What is kept of savings, and what is asked of the place where it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.state.ledger.base import DAY_S

KEPT_DAYS = 400
MICRO = 1_000_000

DIRECT, ACTUAL, BATCH, UNPRICED = "=direct", "=actual", "=batch", "=unpriced"
"""Beside the layers' names: what requests would have cost without us, what they cost, what they would have
cost in a provider's batch, and requests of which none of this is known."""


class Place(NamedTuple):
    """Where an amount belongs."""

    tenant: str
    day: int
    """Days since the epoch, UTC."""
    name: str
    """A layer, or one of the names above."""


class Amount(NamedTuple):
    """What is counted at a place; negative where a layer cost more than it saved."""

    requests: int = 0
    nano_usd: int = 0
    micro_s: int = 0

    def plus(self, other: Amount) -> Amount:
        """Return the sum."""
        return Amount(
            self.requests + other.requests, self.nano_usd + other.nano_usd, self.micro_s + other.micro_s
        )


class SavingsStore(Protocol):
    """Sums that several processes add to. Blocking: whoever calls it from an event loop does so in a thread.
    Every method raises StateUnavailable."""

    def add(self, amounts: Mapping[Place, Amount], batch: str) -> None:
        """Add all amounts, or none. The same `batch` again, within some minutes, adds nothing: whoever does
        not know whether it was added can repeat it."""

    def read(self, tenant: str | None, first_day: int) -> Sequence[tuple[Place, Amount]]:
        """Return all sums since a day, of one tenant or of all, in the order of their places. A store that
        nobody has written to yet is empty and is not made by this."""


def day_of(unix_s: float) -> int:
    """Return the day of UTC."""
    return int(unix_s // DAY_S)
