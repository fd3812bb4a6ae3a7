"""What the SQLite store's thread does within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Budget
from semantic_cache.store.sqlite_file import inode_of

# An entry also costs its row, three index cells and their page slack.
ROW_BYTES = 256
# How far eviction goes below the budget, so that it does not run for every entry.
_LOW_WATER = 0.95
_SWEEP_ROWS = 64


class Job(Protocol):
    """One change. `cost` is what it holds in memory, in bytes."""

    @property
    def cost(self) -> int:
        """Bytes held while it waits."""

    def run(self, connection: sqlite3.Connection, now: float) -> object:
        """Make the change within the open transaction and return its result."""


class Put(NamedTuple):
    """Keep one entry. Those that follow each other are kept together, by `put_all`."""

    key: ExactKey
    stale_until: float
    entry: bytes

    @property
    def cost(self) -> int:
        return len(self.entry)

    def run(self, connection: sqlite3.Connection, now: float) -> bool:
        put_all(connection, [self], now)
        return True


@dataclass(frozen=True, slots=True)
class Delete:
    """Forget one entry."""

    key: ExactKey
    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute(
            "DELETE FROM entries WHERE tenant = ? AND key = ?", (self.key.tenant, self.key.digest)
        )


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget a tenant's entries or all, and overwrite what they held in the file."""

    tenant: str | None
    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> int:
        connection.execute("PRAGMA secure_delete = 1")
        try:
            if self.tenant is None:
                return connection.execute("DELETE FROM entries").rowcount
            return connection.execute("DELETE FROM entries WHERE tenant = ?", (self.tenant,)).rowcount
        finally:
            connection.execute("PRAGMA secure_delete = 0")


@dataclass(frozen=True, slots=True)
class Touch:
    """Take note of entries that were served, by row and the time in seconds."""

    rows: dict[int, float]
    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> None:
        connection.executemany(
            "UPDATE entries SET used = ?1 WHERE id = ?2 AND used < ?1",
            [(_milliseconds(at), row) for row, at in self.rows.items()],
        )


@dataclass(frozen=True, slots=True)
class Condemn:
    """Report a damage that a reader came upon, so that the file is replaced if it is still that one."""

    path: Path
    inode: int | None
    error: sqlite3.Error
    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> None:
        if inode_of(self.path) == self.inode:
            raise self.error


@dataclass(frozen=True, slots=True)
class Sweep:
    """Forget everything that is past its time."""

    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM entries WHERE stale_until <= ?", (now,))


def run_all(connection: sqlite3.Connection, jobs: Sequence[Job], now: float) -> list[object]:
    """Run jobs in their order within the open transaction; return their results."""
    results: list[object] = []
    puts: list[Put] = []
    for job in jobs:
        if isinstance(job, Put):
            puts.append(job)
            results.append(True)
            continue
        put_all(connection, puts, now)
        puts.clear()
        results.append(job.run(connection, now))
    put_all(connection, puts, now)
    return results


def put_all(connection: sqlite3.Connection, puts: Sequence[Put], now: float) -> None:
    """Keep entries, a later one of a key in place of an earlier one."""
    if not puts:
        return
    used = _milliseconds(now)
    rows = [
        (key.digest, used, stale_until, len(entry) + ROW_BYTES, key.tenant, entry)
        for key, stale_until, entry in puts
    ]
    # One call: every one waits for the interpreter's lock twice. What is replaced is counted by the trigger.
    connection.executemany(
        "INSERT OR REPLACE INTO entries (key, used, stale_until, size, tenant, entry)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
    connection.execute(
        "UPDATE total SET entries = entries + ?, bytes = bytes + ?", (len(rows), sum(row[3] for row in rows))
    )


def sweep_some(connection: sqlite3.Connection, now: float) -> None:
    """Forget a few entries that are past their time; called with every batch, it keeps up with puts."""
    connection.execute(
        "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE stale_until <= ? LIMIT ?)",
        (now, _SWEEP_ROWS),
    )


def evict(connection: sqlite3.Connection, budget: Budget) -> int:
    """Bring the store within its budget, the longest unused going first; return how many went."""
    entries, size = connection.execute("SELECT entries, bytes FROM total").fetchone()
    if entries <= budget.entries and size <= budget.bytes:
        return 0
    most, most_bytes = int(budget.entries * _LOW_WATER), int(budget.bytes * _LOW_WATER)
    # At least one entry may always stay: the newest.
    most = max(most, 1)
    rows = []
    for row, row_size in connection.execute("SELECT id, size FROM entries ORDER BY used, id"):
        if entries <= most and size <= most_bytes:
            break
        rows.append((row,))
        entries -= 1
        size -= row_size
    connection.executemany("DELETE FROM entries WHERE id = ?", rows)
    return len(rows)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
