"""What the SQLite store's thread does within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from semantic_cache.epochs import Epochs, decode_epochs, encode_epochs
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Budget
from semantic_cache.store.feed import KEPT_CHANGES
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
    credit_ms: int = 0
    """See `worth`."""
    record: bytes = b""
    """What the semantic tier keeps beside it; empty: nothing."""

    @property
    def cost(self) -> int:
        return len(self.entry) + len(self.record)

    def run(self, connection: sqlite3.Connection, now: float) -> bool:
        put_all(connection, [self], now)
        return True


class Confirm(NamedTuple):
    """Keep one entry, with what was learnt, if there is nothing in its place but what was seen there."""

    put: Put
    before: bytes
    learnt: bytes

    @property
    def cost(self) -> int:
        return self.put.cost + len(self.before) + len(self.learnt)

    def run(self, connection: sqlite3.Connection, now: float) -> bool:
        where = (self.put.key.tenant, self.put.key.digest)
        row = connection.execute("SELECT entry FROM entries WHERE tenant = ? AND key = ?", where).fetchone()
        if row is not None and row[0] != self.before:
            return False
        put_all(connection, [self.put], now)
        connection.execute(
            "UPDATE semantic SET learnt = ? WHERE tenant = ? AND key = ?", (self.learnt, *where)
        )
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
    """Take note of entries that were served, by row: milliseconds since the epoch, credit included."""

    rows: dict[int, int]
    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> None:
        connection.executemany(
            "UPDATE entries SET used = ?1 WHERE id = ?2 AND used < ?1",
            [(at, row) for row, at in self.rows.items()],
        )


@dataclass(frozen=True, slots=True)
class Teach:
    """Replace what was learnt about an entry, if it still is what the teacher knew."""

    key: ExactKey
    before: bytes
    after: bytes
    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> bool:
        changed = connection.execute(
            "UPDATE semantic SET learnt = ? WHERE tenant = ? AND key = ? AND learnt = ?",
            (self.after, self.key.tenant, self.key.digest, self.before),
        )
        return changed.rowcount == 1


@dataclass(frozen=True, slots=True)
class Purge:
    """Raise the epochs of a tenant, or of all that have entries; returns of how many."""

    tenant: str | None
    raised: Callable[[Epochs], Epochs]
    cost: int = 0

    def run(self, connection: sqlite3.Connection, now: float) -> int:
        tenants = [self.tenant] if self.tenant is not None else tenants_of(connection)
        for tenant in tenants:
            row = connection.execute("SELECT epochs FROM epochs WHERE tenant = ?", (tenant,)).fetchone()
            following = encode_epochs(self.raised(decode_epochs(row[0] if row else None)))
            # Replaced, not updated, so that one trigger tells of both.
            connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (tenant, following))
        return len(tenants)


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
        (key.digest, used + credit, stale_until, len(entry) + len(record) + ROW_BYTES, key.tenant, entry)
        for key, stale_until, entry, credit, record in puts
    ]
    # Before the entries: what is replaced takes its record along, and what was learnt about the question
    # stays.
    last = {put.key: put for put in puts}
    records = [_record_row(connection, put) for put in last.values() if put.record]
    # One call: every one waits for the interpreter's lock twice. What is replaced is counted by the trigger.
    connection.executemany(
        "INSERT OR REPLACE INTO entries (key, used, stale_until, size, tenant, entry)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
    connection.execute(
        "UPDATE total SET entries = entries + ?, bytes = bytes + ?", (len(rows), sum(row[3] for row in rows))
    )
    connection.executemany(
        "INSERT OR REPLACE INTO semantic (tenant, key, learnt, record) VALUES (?, ?, ?, ?)", records
    )


def _record_row(connection: sqlite3.Connection, put: Put) -> tuple[str, bytes, bytes, bytes]:
    row = connection.execute(
        "SELECT learnt FROM semantic WHERE tenant = ? AND key = ?", (put.key.tenant, put.key.digest)
    ).fetchone()
    return put.key.tenant, put.key.digest, row[0] if row else b"", put.record


def tenants_of(connection: sqlite3.Connection) -> list[str]:
    """Return the tenants that have entries, by leaps over the index: their entries are not looked at."""
    rows = connection.execute(
        "WITH RECURSIVE found (tenant) AS ("
        " SELECT min(tenant) FROM entries UNION ALL"
        " SELECT (SELECT min(tenant) FROM entries WHERE tenant > found.tenant) FROM found"
        " WHERE found.tenant IS NOT NULL"
        ") SELECT tenant FROM found WHERE tenant IS NOT NULL"
    )
    return [tenant for (tenant,) in rows]


def forget_changes(connection: sqlite3.Connection) -> None:
    """Forget the oldest changes: a follower that has not read them by now begins anew."""
    connection.execute("DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?", (KEPT_CHANGES,))


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
