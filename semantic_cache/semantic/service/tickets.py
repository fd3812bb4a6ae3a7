"""Decisions that something may still be learnt about: the process remembers the last ones under a number."""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from semantic_cache.decision.base import Assessment
from semantic_cache.scope import ExactKey

CAPACITY = 8192


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which entry was considered for a question, and what was found out about the two."""

    entry: ExactKey
    assessment: Assessment


class Tickets:
    """A bounded memory; the oldest ticket makes room."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._tickets: OrderedDict[int, Ticket] = OrderedDict()
        # A number of an earlier process must not mean anything to this one.
        self._numbers = itertools.count(secrets.randbits(52) + 1)

    def issue(self, ticket: Ticket) -> int:
        """Remember a ticket; returns its number."""
        number = next(self._numbers)
        self._tickets[number] = ticket
        if len(self._tickets) > self._capacity:
            self._tickets.popitem(last=False)
        return number

    def look(self, number: int) -> Ticket | None:
        """Return a ticket and keep it."""
        return self._tickets.get(number)

    def redeem(self, number: int) -> Ticket | None:
        """Return a ticket and forget it: nothing is learnt twice."""
        return self._tickets.pop(number, None)
