"""The SQLite store's thread: all changes of a process, one connection, many changes a transaction.

A commit costs far more than a change: a put of 8 KiB in a transaction of its own takes 120 µs of CPU, the two
switches of threads included, and one of thirty that share it 45. So what nobody waits for is gathered for a
moment, and whatever waits when a transaction begins goes into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from semantic_cache.errors import BadStoreUrl, StoreUnavailable
from semantic_cache.store.base import Budget, OnEvent, StoreEvent
from semantic_cache.store.sqlite_file import inode_of, is_damage, open_writer, replace_damaged
from semantic_cache.store.sqlite_jobs import Clear, Job, evict, forget_changes, run_all, sweep_some

_MAX_WAITING = 1024
_MAX_WAITING_BYTES = 32 * 1024 * 1024
_BATCH = 128
_LINGER_S = 0.02
"""The least time between two transactions of what is not urgent."""


class _Waiting(NamedTuple):
    job: Job
    done: asyncio.Future[Any]


class Writer:
    """Runs jobs in their order. `submit` and `close` belong to one event loop."""

    def __init__(self, path: Path, budget: Budget, clock: Callable[[], float], on_event: OnEvent) -> None:
        """Open the database, made if need be. Raises BadStoreUrl, sqlite3.Error."""
        self._path = path
        self._budget = budget
        self._clock = clock
        self._on_event = on_event
        self._jobs: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._gathered: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = float("-inf")
        self._waiting = 0
        self._waiting_bytes = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop
        self._connection: sqlite3.Connection | None = open_writer(path)
        self.inode = inode_of(path)
        """The file in use; read by the event loop, which follows when it changes."""
        self._thread = threading.Thread(target=self._run, name="forebay-cache-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Have the job done; the future has its result, or sqlite3.Error. Raises StoreUnavailable if full."""
        done = self._gather(job)
        self._send()
        return done

    def submit_soon(self, job: Job) -> asyncio.Future[Any]:
        """Have the job done after a pause in which others join it; after a quiet time there is none."""
        done = self._gather(job)
        if len(self._gathered) >= _BATCH:
            self._send()
        elif self._timer is None:
            wait_s = self._sent_at + _LINGER_S - self._loop.time()
            if wait_s > 0:
                self._timer = self._loop.call_later(wait_s, self._send)
            else:
                self._send()
        return done

    def _gather(self, job: Job) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreUnavailable("The cache's store is closed.")
        cost = job.cost
        if self._waiting >= _MAX_WAITING or self._waiting_bytes + cost > _MAX_WAITING_BYTES:
            raise StoreUnavailable("The cache's store has too much left to write.")
        self._loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = self._loop.create_future()
        self._waiting += 1
        self._waiting_bytes += cost
        self._gathered.append(_Waiting(job, done))
        return done

    def _send(self) -> None:
        """Hand over what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            self._sent_at = self._loop.time()
            self._jobs.put(self._gathered)
            self._gathered = []

    async def close(self) -> None:
        """Do what was submitted and end the thread."""
        if self._closed:
            return
        self._send()
        self._closed = True
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        running = True
        while running:
            batch: list[_Waiting] = []
            waiting = self._jobs.get()
            while waiting is not None:
                batch += waiting
                if len(batch) >= _BATCH:
                    break
                try:
                    waiting = self._jobs.get_nowait()
                except queue.Empty:
                    break
            running = waiting is not None
            if batch:
                self._settle(batch)
        if self._connection is not None:
            self._connection.close()

    def _settle(self, batch: list[_Waiting]) -> None:
        error: Exception | None = None
        results: list[object] = [None] * len(batch)
        try:
            results = self._commit(batch)
        except (sqlite3.Error, BadStoreUrl, OSError) as failure:
            error = failure
        # A loop that was closed without closing its store has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver, batch, results, error)

    def _deliver(self, batch: list[_Waiting], results: list[object], error: Exception | None) -> None:
        for waiting, result in zip(batch, results, strict=True):
            self._waiting -= 1
            self._waiting_bytes -= waiting.job.cost
            if waiting.done.done():
                continue
            if error is None:
                waiting.done.set_result(result)
            else:
                waiting.done.set_exception(error)
                # Nobody need wait for it; then it is not worth asyncio's own complaint.
                waiting.done.exception()

    def _commit(self, batch: list[_Waiting]) -> list[object]:
        connection = self._current()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                now = self._clock()
                results = run_all(connection, [waiting.job for waiting in batch], now)
                sweep_some(connection, now)
                evicted = evict(connection, self._budget)
                forget_changes(connection)
                connection.execute("COMMIT")
            except BaseException:
                # A COMMIT that fails may have rolled back by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            if is_damage(error):
                self._begin_anew(error)
            raise
        if any(isinstance(waiting.job, Clear) for waiting in batch):
            # What was cleared is still in the journal. A reader in its way puts this off until later.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if evicted:
            self._on_event(StoreEvent.EVICTED, evicted)
        return results

    def _current(self) -> sqlite3.Connection:
        """Return the connection to the file at the path, which another process may have replaced."""
        if self._connection is None or inode_of(self._path) != self.inode:
            self._reopen()
        assert self._connection is not None
        return self._connection

    def _begin_anew(self, error: sqlite3.Error) -> None:
        replace_damaged(self._path, self.inode, error)
        self._reopen()

    def _reopen(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        self._connection = open_writer(self._path)
        self.inode = inode_of(self._path)
