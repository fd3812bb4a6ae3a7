"""Accounts in the SQLite database, which all processes of one machine may share.

A transaction takes some 30 µs, so it runs on the event loop: a hop to a thread and back costs more, and under
load waits for the interpreter's lock at each of its statements. Two things may not happen there:

- Waiting for another process's transaction. The busy timeout is zero; a caller that finds the database locked
  sleeps on the loop and tries again.
- Waiting for the disk. Commits in WAL mode do not (`synchronous = NORMAL`), checkpoints do, and so does the
  first commit after one, which begins the log anew. Both are done in a thread, by `_tidy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger.base import DAY_S, Ask, Grant, Kind, Refusal, Reservation, Used
from gateway.state.ledger.window import Window, first_second
from gateway.state.location import STALL_S, make_private
from gateway.state.outage import Outage

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.01
# Settlements wait for the next reservation's transaction, and for this long at most.
_SETTLE_S = 0.02
_RETRY_S = 0.25
_TIDY_EVERY = 1000
_MOST_UNSETTLED = 100_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS taken (
    tenant TEXT, second INTEGER, requests INTEGER NOT NULL, tokens INTEGER NOT NULL,
    PRIMARY KEY (tenant, second)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    tenant TEXT, day INTEGER, nano_usd INTEGER NOT NULL, PRIMARY KEY (tenant, day)
) WITHOUT ROWID;
"""
# Summed up by SQLite: 61 rows take three times as long to reach Python.
_READ_WINDOW = """
SELECT ifnull(sum(requests), 0), ifnull(sum(tokens), 0),
       max(CASE WHEN requests > 0 THEN second END), max(CASE WHEN tokens > 0 THEN second END)
FROM taken WHERE tenant = ? AND second >= ?
"""
_READ_TAKEN = {
    Kind.REQUESTS: "SELECT second, requests FROM taken WHERE tenant = ? AND second >= ? ORDER BY second",
    Kind.TOKENS: "SELECT second, tokens FROM taken WHERE tenant = ? AND second >= ? ORDER BY second",
}
_READ_SPENT = "SELECT nano_usd FROM spent WHERE tenant = ? AND day = ?"
_TAKE = """
INSERT INTO taken VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens
"""
_SPEND = """
INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd
"""
_GIVE_BACK = "UPDATE taken SET requests = requests + ?, tokens = tokens + ? WHERE tenant = ? AND second = ?"


class SqliteLedger:
    """Accounts in one file, which is made by the first reservation."""

    def __init__(self, path: Path, outage: Outage, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._outage = outage
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        # What could not be settled yet. Beyond the bound the oldest stay charged as reserved.
        self._unsettled: deque[tuple[Reservation, Used]] = deque(maxlen=_MOST_UNSETTLED)
        self._settling: asyncio.TimerHandle | None = None
        self._commits = 0
        self._tidying: asyncio.Task[None] | None = None

    async def reserve(self, tenant: str, limits: Limits, ask: Ask) -> Grant | Refusal:
        give_up = time.monotonic() + STALL_S
        pause = _FIRST_PAUSE_S
        while True:
            try:
                decision = self._reserve(tenant, limits, ask)
            except (sqlite3.Error, OSError) as error:
                if not _is_busy(error) or time.monotonic() > give_up:
                    self._failed(error)
                    raise StateUnavailable(
                        "The gateway cannot check your limits at the moment. Try again shortly."
                    ) from error
            else:
                self._outage.worked()
                self._count_commit()
                return decision
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def settle(self, reservation: Reservation, used: Used) -> None:
        self._unsettled.append((reservation, used))
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(_SETTLE_S, self._settle_all)

    async def close(self) -> None:
        give_up = time.monotonic() + STALL_S
        while self._unsettled and time.monotonic() < give_up:
            self._settle_all()
            if self._unsettled:
                await asyncio.sleep(_LONGEST_PAUSE_S)
        if self._settling is not None:
            self._settling.cancel()
        if self._tidying is not None:
            await self._tidying
        self._drop()

    def _reserve(self, tenant: str, limits: Limits, ask: Ask) -> Grant | Refusal:
        now = self._clock()
        second, day = int(now), int(now // DAY_S)
        with self._transaction() as db:
            spent = 0
            if limits.usd_per_day is not None and (row := db.execute(_READ_SPENT, (tenant, day)).fetchone()):
                spent = row[0]
            since = (tenant, first_second(now))
            requests, used, last_request, last_token = db.execute(_READ_WINDOW, since).fetchone()
            window = Window(requests, used, last_request, last_token, spent)
            taken = window.take(ask, limits, now, lambda kind: db.execute(_READ_TAKEN[kind], since))
            if not isinstance(taken, Refusal):
                tokens, money = taken
                db.execute(_TAKE, (tenant, second, 1, tokens))
                if money:
                    db.execute(_SPEND, (tenant, day, money))
        if isinstance(taken, Refusal):
            return taken
        reservation = Reservation(tenant, second, day, tokens, money)
        return Grant(reservation, window.after(tokens, now).standing(limits, now))

    def _settle_all(self) -> None:
        """Write what is unsettled in a transaction; if that cannot be now, come back to it."""
        self._settling = None
        if not self._unsettled:
            return
        try:
            with self._transaction():
                pass
        except (sqlite3.Error, OSError) as error:
            pause = _LONGEST_PAUSE_S
            if not _is_busy(error):
                pause = _RETRY_S
                self._failed(error)
            self._settling = asyncio.get_running_loop().call_later(pause, self._settle_all)
        else:
            self._count_commit()

    def _settle(self, db: sqlite3.Connection, reservation: Reservation, used: Used) -> None:
        tenant = reservation.tenant
        requests, tokens = used.requests - 1, used.tokens - reservation.tokens
        if requests or tokens < 0:
            db.execute(_GIVE_BACK, (requests, min(0, tokens), tenant, reservation.second))
        if tokens > 0:
            db.execute(_TAKE, (tenant, int(self._clock()), 0, tokens))
        if money := used.nano_usd - reservation.nano_usd:
            db.execute(_SPEND, (tenant, reservation.day, money))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give a transaction in which everything unsettled is settled already."""
        db = self._connected()
        db.execute("BEGIN IMMEDIATE")
        try:
            for reservation, used in self._unsettled:
                self._settle(db, reservation, used)
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._unsettled.clear()

    def _connected(self) -> sqlite3.Connection:
        # Someone may remove or replace the file: without a look at it each process would go on with its own.
        if self._db is not None:
            with contextlib.suppress(FileNotFoundError):
                if self._inode == _inode(self._path):
                    return self._db
            self._drop()
        make_private(self._path)
        self._inode = _inode(self._path)
        self._db = _connect(self._path)
        return self._db

    def _failed(self, error: Exception) -> None:
        self._outage.failed(error)
        self._drop()

    def _drop(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _count_commit(self) -> None:
        self._commits += 1
        if self._commits >= _TIDY_EVERY and (self._tidying is None or self._tidying.done()):
            self._commits = 0
            self._tidying = asyncio.create_task(asyncio.to_thread(_tidy, self._path, self._clock()))


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
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
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(_connect(path)) as db:
        db.execute(f"PRAGMA busy_timeout = {STALL_S * 1000:.0f}")
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM taken WHERE second < ?", (first_second(now),))
        db.execute("DELETE FROM spent WHERE day < ?", (int(now // DAY_S) - 1,))
        # A commit writes to the log only if a page changed.
        db.execute("PRAGMA application_id = 1718776421")
        db.execute("COMMIT")


def _inode(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_busy(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
