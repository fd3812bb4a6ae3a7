"""What is asked of a place where outcomes are kept. Blocking: gateways call it from a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from router.online.tried import Tried

MOST = 1_000
"""Outcomes that are kept of one tenant and route; the oldest go first."""


class Raised(msgspec.Struct, frozen=True):
    """An alarm: outcomes of this tier before its time no longer vouch for it."""

    tier: str
    why: str
    at: float


class Fresh(msgspec.Struct, frozen=True):
    """What is new since a cursor, oldest first."""

    tried: tuple[Tried, ...]
    alarms: tuple[Raised, ...]
    """All there are: the latest of each tier."""
    cursor: dict[str, str]
    """What to ask with the next time."""


class OutcomeStore(Protocol):
    """Outcomes of the routes of one gateway, or of all its replicas. Every method raises StateUnavailable."""

    def add(self, route: str, tried: Sequence[Tried], alarms: Sequence[Raised]) -> None:
        """Keep outcomes and alarms."""

    def since(self, route: str, cursor: dict[str, str]) -> Fresh:
        """Return what is new; with an empty cursor everything that is kept. A store that nobody has written
        to is empty and is not made by this."""
