"""What every store does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from semantic_cache.entry import Entry
from semantic_cache.scope import ExactKey


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a store may hold. Raises ValueError for a budget of nothing."""

    entries: int = 100_000
    bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if self.entries < 1 or self.bytes < 1:
            raise ValueError("a budget has room for something")


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds now; bytes as the budget counts them."""

    entries: int
    bytes: int


class StoreEvent(Enum):
    """What a store tells about itself, with a count."""

    UNAVAILABLE = "unavailable"
    """Calls that ended in StoreUnavailable."""
    CORRUPT = "corrupt"
    """Entries that were not what was written, and are deleted."""
    EVICTED = "evicted"
    """Entries that had to leave for others."""


OnEvent: TypeAlias = Callable[[StoreEvent, int], None]
"""Called from the event loop or from a store's own thread; must not block."""


def ignore_event(event: StoreEvent, count: int) -> None:
    """Stand in for an `OnEvent` where nobody wants to know."""


class Store(Protocol):
    """Keeps entries until their `stale_until`, or until the budget needs their room.

    Every call may raise StoreUnavailable, soon; none raises anything else for a store that fails. Whoever
    may serve stale entries or not looks at the entry's times himself.
    """

    waits: bool
    """Whether `get` gives way to others while it runs; if not, no clock of the caller's can interrupt it."""

    async def get(self, key: ExactKey) -> Entry | None:
        """Return the entry, or None if there is none, or none that is still what was written."""

    async def put(self, key: ExactKey, entry: Entry) -> bool:
        """Keep the entry in place of an older one; it is kept when this returns True.

        False says that the entry is past its time or larger than a tenth of the budget.
        """

    async def delete(self, key: ExactKey) -> None:
        """Forget the entry, if it is there."""

    async def clear(self, tenant: str | None = None) -> int:
        """Forget all entries of a tenant, or of all, that were kept before the call; return how many."""

    async def stats(self) -> StoreStats:
        """Count what is there."""

    async def close(self) -> None:
        """Finish what was begun and free everything; the store is of no use afterwards."""
