"""The file behind the SQLite ledger: transactions that neither wait for a lock nor for the disk.

The busy timeout is zero: who finds the database locked tries again when it suits him. Commits in WAL mode do
not wait for the disk (`synchronous = NORMAL`); checkpoints do, and so does the first commit after one, which
begins the log anew. Both are done in a thread, by `_tidy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.state.ledger.base import DAY_S
from gateway.state.ledger.window import first_second
from gateway.state.location import STALL_S, make_private
from gateway.state.sqlite_transaction import immediate

TIDY_EVERY = 1000
"""Transactions from one checkpoint to the next; a few megabytes of log."""
FAILURES = (sqlite3.Error, OSError)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS taken (
    tenant TEXT, second INTEGER, requests INTEGER NOT NULL, tokens INTEGER NOT NULL,
    PRIMARY KEY (tenant, second)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    tenant TEXT, day INTEGER, nano_usd INTEGER NOT NULL, PRIMARY KEY (tenant, day)
) WITHOUT ROWID;
"""


class LedgerFile:
    """A connection that is opened when it is needed, and anew after a failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._transactions = 0
        self._tidying: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def transaction(self, now: float) -> Iterator[sqlite3.Connection]:
        """Give a transaction. Raises FAILURES, and then nothing of it has happened."""
        db = self._connected()
        with immediate(db):
            yield db
        self._transactions += 1
        if self._transactions >= TIDY_EVERY and (self._tidying is None or self._tidying.done()):
            self._transactions = 0
            self._tidying = asyncio.create_task(asyncio.to_thread(_tidy, self._path, now))

    def drop(self) -> None:
        """Close the connection; the next transaction opens another."""
        if self._db is not None:
            db, self._db = self._db, None
            with contextlib.suppress(sqlite3.Error):
                db.close()

    async def close(self) -> None:
        """Wait for the thread, and close."""
        if self._tidying is not None:
            await self._tidying
        self.drop()

    def _connected(self) -> sqlite3.Connection:
        # Someone may remove or replace the file: without a look at it each process would go on with its own.
        if self._db is not None:
            with contextlib.suppress(FileNotFoundError):
                if self._inode == _inode(self._path):
                    return self._db
            self.drop()
        make_private(self._path)
        self._inode = _inode(self._path)
        self._db = _connect(self._path)
        return self._db


def is_busy(error: Exception) -> bool:
    """Return whether another process has the database, which passes by itself."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _connect(path: Path, patience_s: float = 0) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=patience_s, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _tidy(path: Path, now: float) -> None:
    """Checkpoint the log, and forget what no longer counts in the commit that begins it anew."""
    with contextlib.suppress(*FAILURES), contextlib.closing(_connect(path, STALL_S)) as db:
        # The first does the work while transactions go on; the second keeps them out for the rest of it, for
        # the log begins anew only if nothing has been added by then.
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM taken WHERE second < ?", (first_second(now),))
        db.execute("DELETE FROM spent WHERE day < ?", (int(now // DAY_S) - 1,))
        # A commit writes to the log only if a page changed.
        db.execute("PRAGMA application_id = 1718776421")
        db.execute("COMMIT")


def _inode(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
