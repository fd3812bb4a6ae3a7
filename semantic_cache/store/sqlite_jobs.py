"""What the SQLite store's thread does within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from semantic_cache.epochs import Epochs, decode_epochs, encode_epochs
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Budget
from semantic_cache.store.fair_share import level
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
        connection.execute("DELETE FROM entries WHERE tenant = ? AND key = ?", where)
        put_all(connection, [self.put], now)
        if self.learnt:
            Teach(self.put.key, b"", self.learnt).run(connection, now)
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
        if changed.rowcount != 1:
            return False
        more = len(self.after) - len(self.before)
        connection.execute(
            "UPDATE entries SET size = size + ? WHERE tenant = ? AND key = ?",
            (more, self.key.tenant, self.key.digest),
        )
        count(connection, {self.key.tenant: (0, more)})
        return True


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
    # Before the entries: what is replaced takes its record along, and what was learnt about the question
    # stays.
    last = {put.key: put for put in puts}
    records = [_record_row(connection, put) for put in last.values() if put.record]
    learnt = {(tenant, digest): len(known) for tenant, digest, known, _ in records if known}
    rows = [
        (
            key.digest,
            used + credit,
            stale_until,
            len(entry) + len(record) + ROW_BYTES + (learnt.get((key.tenant, key.digest), 0) if learnt else 0),
            key.tenant,
            entry,
        )
        for key, stale_until, entry, credit, record in puts
    ]
    # One call: every one waits for the interpreter's lock twice. What is replaced is counted by the trigger.
    connection.executemany(
        "INSERT OR REPLACE INTO entries (key, used, stale_until, size, tenant, entry)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
    added: dict[str, tuple[int, int]] = {}
    for _, _, _, size, tenant, _ in rows:
        entries, held = added.get(tenant, (0, 0))
        added[tenant] = entries + 1, held + size
    count(connection, added)
    connection.executemany(
        "INSERT OR REPLACE INTO semantic (tenant, key, learnt, record) VALUES (?, ?, ?, ?)", records
    )


def count(connection: sqlite3.Connection, added: Mapping[str, tuple[int, int]]) -> None:
    """Add entries and bytes to what each tenant holds, and to the total."""
    connection.executemany(
        "INSERT INTO holdings VALUES (?1, ?2, ?3) ON CONFLICT (tenant)"
        " DO UPDATE SET entries = entries + ?2, bytes = bytes + ?3",
        [(tenant, *more) for tenant, more in added.items()],
    )
    connection.execute(
        "UPDATE total SET entries = entries + ?, bytes = bytes + ?",
        (sum(entries for entries, _ in added.values()), sum(size for _, size in added.values())),
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
    """Bring the store within its budget; return how many entries went.

    Of tenants that hold more than their share the longest unused go; whoever holds less keeps everything.
    """
    entries, size = connection.execute("SELECT entries, bytes FROM total").fetchone()
    if entries <= budget.entries and size <= budget.bytes:
        return 0
    held = connection.execute("SELECT tenant, entries, bytes FROM holdings WHERE entries > 0").fetchall()
    most = level([of for _, of, _ in held], int(budget.entries * _LOW_WATER))
    most_bytes = level([of for _, _, of in held], int(budget.bytes * _LOW_WATER))
    if not most:
        # Fewer places than tenants: the newest of all stay.
        return _evict_longest_unused(connection, "TRUE", (), entries - budget.entries, size - budget.bytes)
    return sum(
        _evict_longest_unused(connection, "tenant = ?", (tenant,), its_entries - most, its_bytes - most_bytes)
        for tenant, its_entries, its_bytes in held
        if its_entries > most or its_bytes > most_bytes
    )


def _evict_longest_unused(
    connection: sqlite3.Connection, where: str, values: tuple[str, ...], entries: int, size: int
) -> int:
    """Forget at least so many entries, and so many bytes; return how many went."""
    rows = []
    for row, row_size in connection.execute(
        f"SELECT id, size FROM entries WHERE {where} ORDER BY used, id", values
    ):
        if entries <= 0 and size <= 0:
            break
        rows.append((row,))
        entries -= 1
        size -= row_size
    connection.executemany("DELETE FROM entries WHERE id = ?", rows)
    return len(rows)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
