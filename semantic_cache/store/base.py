"""What every store does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from semantic_cache.entry import Entry
from semantic_cache.epochs import Epochs
from semantic_cache.record import Record, Stored
from semantic_cache.scope import ExactKey
from semantic_cache.store.feed import Feed

if TYPE_CHECKING:
    # Only here: the client costs a worker 12 MB and a tenth of a second.
    from semantic_cache.store.redis_flights import RedisFlights


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
    """What a store holds now; bytes as the budget counts them, records those of the semantic tier."""

    entries: int
    bytes: int
    records: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry where it lies, and what the semantic tier keeps beside it."""

    key: ExactKey
    entry: Entry
    stored: Stored | None


class Found(NamedTuple):
    """What lies under a key."""

    stored: bytes
    """As the store has it; empty if there is nothing."""
    entry: Entry | None
    """What that is, if it may be served."""
    dead: bool = False
    """It never will be again: purged, or not what was written."""


NOTHING = Found(b"", None)


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
        """Return the entry, or None if there is none, or none that is still what was written.

        What a group has of a contributor is dead when its epochs say so, or the contributor's.
        """

    async def put(self, key: ExactKey, entry: Entry, record: Record | None = None) -> bool:
        """Keep the entry in place of an older one; it is kept when this returns True.

        `record` is kept, told of and forgotten together with it; what was learnt about an older one of the
        same key stays. False says that the entry is past its time or larger than a tenth of the budget.
        """

    async def beside(self, key: ExactKey) -> Stored | None:
        """Return the record that lies beside an entry, with what was learnt about it, if there is one."""

    async def confirm(self, key: ExactKey, entry: Entry, stored: Stored | None = None) -> bool:
        """Keep the entry unless there is a fresh one; of several callers at once one gets True.

        `stored` has the record to keep beside it, and what was learnt already. False says that there is
        another one, or what `put` says by it.
        """

    async def delete(self, key: ExactKey) -> None:
        """Forget the entry, if it is there."""

    async def clear(self, tenant: str | None = None) -> int:
        """Forget all entries of a tenant, or of all, that were kept before the call; return how many."""

    async def epochs(self, tenant: str) -> Epochs:
        """Return a tenant's epochs; an answer that is asked for now is of epoch `now`."""

    async def purge(self, tenant: str | None, raised: Callable[[Epochs], Epochs]) -> None:
        """Raise the epochs of a tenant, or of all tenants that have entries; what they mean is gone at once.

        `raised` is `Epochs.purged` with its arguments; it may be called several times.
        """

    async def teach(self, key: ExactKey, before: bytes, after: bytes) -> bool:
        """Replace what was learnt about a record (`Learnt` as msgpack), if it still is `before`.

        False says that it is not, or that there is no such record.
        """

    def feed(self) -> Feed:
        """Return a new follower of the records."""

    def flights(self) -> RedisFlights | None:
        """Return new leases of calls that gateways share; None for a store that only one host has."""

    def scan(self, tenant: str | None = None) -> AsyncIterator[Kept]:
        """Yield all that may be served, of a tenant or of all; what changes meanwhile may be in it or not."""

    async def stats(self) -> StoreStats:
        """Count what is there."""

    async def close(self) -> None:
        """Finish what was begun and free everything; the store is of no use afterwards."""
