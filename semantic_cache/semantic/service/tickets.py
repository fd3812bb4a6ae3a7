"""Decisions that something may still be learnt about: the process remembers the last ones under a number."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass

from semantic_cache.decision.base import Assessment
from semantic_cache.fair_memory import FairMemory
from semantic_cache.scope import ExactKey

CAPACITY = 8192


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which entry was considered for a question, and what was found out about the two."""

    entry: ExactKey
    assessment: Assessment


class Tickets:
    """A bounded memory that tenants share fairly."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._tickets: FairMemory[int, Ticket] = FairMemory(capacity)
        # A number of an earlier process must not mean anything to this one.
        self._numbers = itertools.count(secrets.randbits(52) + 1)

    def __len__(self) -> int:
        return len(self._tickets)

    def issue(self, tenant: str, ticket: Ticket) -> int:
        """Remember a ticket of whoever asked; returns its number."""
        number = next(self._numbers)
        self._tickets.put(tenant, number, ticket)
        return number

    def look(self, number: int) -> Ticket | None:
        """Return a ticket and keep it."""
        return self._tickets.get(number)

    def redeem(self, number: int) -> Ticket | None:
        """Return a ticket and forget it: nothing is learnt twice."""
        return self._tickets.pop(number)
