"""Follows the records in a SQLite file, over a connection and a thread of its own.

Whether anything has changed is what SQLite says of its own data version, a few microseconds a look. The place
in the changes is only good for the very database that it came from: its id tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from semantic_cache.epochs import Epochs
from semantic_cache.errors import StoreUnavailable
from semantic_cache.record import Stored, decode_stored
from semantic_cache.scope import ExactKey
from semantic_cache.store.feed import BATCH, POLL_S, Batch, epochs_of
from semantic_cache.store.sqlite_file import inode_of, open_reader

_PLACE = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0), id FROM feed"
_OLDEST = "SELECT min(seq) FROM changes"
_ALL = "SELECT id, tenant, key, learnt, record FROM semantic WHERE id > ? ORDER BY id LIMIT ?"
_CHANGED = (
    "SELECT c.seq, c.tenant, c.key, s.learnt, s.record FROM changes c"
    " LEFT JOIN semantic s ON s.tenant = c.tenant AND s.key = c.key WHERE c.seq > ? ORDER BY c.seq LIMIT ?"
)


class SqliteFeed:
    """One place in the changes of a file. Belongs to one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "forebay-cache-feed")
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._id = b""
        self._seq: int | None = None
        """The last change that was told of; None before everything was."""
        self._row: int | None = None
        """The last record of everything that was told of; None if all of it was."""
        self._version = -1
        self._hurried = asyncio.Event()

    async def next(self) -> Batch:
        loop = asyncio.get_running_loop()
        while True:
            self._hurried.clear()
            try:
                batch = await loop.run_in_executor(self._thread, self._look)
            except (sqlite3.Error, OSError) as error:
                await loop.run_in_executor(self._thread, self._close)
                raise StoreUnavailable("The cache's changes cannot be read.") from error
            if batch is not None:
                return batch
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._hurried.wait()

    def hurry(self) -> None:
        self._hurried.set()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _look(self) -> Batch | None:
        """Return what has changed since the last look, or None if nothing has."""
        connection = self._open()
        if self._seq is None:
            return self._begin(connection)
        if self._row is not None:
            more, self._row = _all_from(connection, self._row)
            return more
        ((version,),) = connection.execute("PRAGMA data_version").fetchall()
        if version == self._version:
            return None
        ((oldest,),) = connection.execute(_OLDEST).fetchall()
        if oldest is not None and oldest > self._seq + 1:
            return self._begin(connection)
        rows = connection.execute(_CHANGED, (self._seq, BATCH)).fetchall()
        caught_up = len(rows) < BATCH
        batch = self._changed(connection, rows, caught_up) if rows else None
        # Only now: a look that failed half way is made again from the same place.
        if rows:
            self._seq = rows[-1][0]
        if caught_up:
            # As of before the changes were read: what came in between is seen by the next look.
            self._version = version
        return batch

    def _begin(self, connection: sqlite3.Connection) -> Batch:
        """Begin with everything; changes from now on are told of afterwards, some perhaps twice."""
        ((seq, identity),) = connection.execute(_PLACE).fetchall()
        kept = connection.execute("SELECT tenant, epochs FROM epochs").fetchall()
        first, row = _all_from(connection, 0)
        # Only now: a beginning that failed half way is made again, and says again that it is one.
        self._seq, self._id, self._row, self._version = seq, identity, row, -1
        epochs = {tenant: epochs_of(tenant, epochs) for tenant, epochs in kept}
        return Batch(True, first.stored, (), epochs, first.caught_up)

    def _changed(self, connection: sqlite3.Connection, rows: list[Any], caught_up: bool) -> Batch:
        stored: dict[ExactKey, Stored] = {}
        gone: dict[ExactKey, None] = {}
        epochs: dict[str, Epochs] = {}
        for _, tenant, digest, learnt, record in rows:
            if not digest:
                kept = connection.execute("SELECT epochs FROM epochs WHERE tenant = ?", (tenant,)).fetchone()
                epochs[tenant] = epochs_of(tenant, kept[0] if kept else None)
                continue
            key = ExactKey(tenant, digest)
            found = None if record is None else _stored(tenant, digest, record, learnt)
            if found is None:
                gone[key] = None
            else:
                stored[key] = found
        return Batch(False, list(stored.values()), list(gone), epochs, caught_up)

    def _open(self) -> sqlite3.Connection:
        inode = inode_of(self._path)
        if self._connection is not None and inode != self._inode:
            self._close()
        if self._connection is None:
            connection = open_reader(self._path)
            ((_, identity),) = connection.execute(_PLACE).fetchall()
            self._connection, self._inode, self._version = connection, inode, -1
            if identity != self._id:
                self._seq = self._row = None
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _all_from(connection: sqlite3.Connection, row: int) -> tuple[Batch, int | None]:
    """Return records after a row, and the row that this came to; None if there are no more."""
    rows = connection.execute(_ALL, (row, BATCH)).fetchall()
    whole = len(rows) < BATCH
    found = (_stored(tenant, key, record, learnt) for _, tenant, key, learnt, record in rows)
    batch = Batch(stored=[stored for stored in found if stored is not None], caught_up=whole)
    return batch, None if whole else rows[-1][0]


def _stored(tenant: str, digest: bytes, record: bytes, learnt: bytes) -> Stored | None:
    return decode_stored(ExactKey(tenant, digest), record, learnt)
