"""The default store: one SQLite file in WAL mode that all processes of a host share.

Reads run on the event loop itself: one row by its key, out of the page cache. Medians on a 2-core machine
with 8 KiB entries: 12 µs, against 32 µs through a thread, and with 32 readers at once 12 against 915 µs, as
each switch of threads waits for the interpreter's lock; CPU 17 against 39 µs. An LRU of entries in front
would save 10 µs, and asking SQLite whether anything has changed takes 5 of them back. So there is neither. In
WAL mode readers never wait for writers, and `busy_timeout` is 0: what cannot be read now is not available.
All that writes runs on the `Writer`'s thread, and its failures do not keep reads from being served.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from semantic_cache.entry import Entry, decode_entry, encode_entry
from semantic_cache.epochs import Epochs, decode_epochs
from semantic_cache.errors import BadStoreUrl, CorruptEntry, StoreUnavailable
from semantic_cache.record import NOTHING_LEARNT, Record, Stored, decode_stored, encode
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import (
    NOTHING,
    Budget,
    Found,
    Kept,
    OnEvent,
    StoreEvent,
    StoreStats,
    ignore_event,
)
from semantic_cache.store.circuit import Circuit
from semantic_cache.store.feed import Feed
from semantic_cache.store.sqlite_feed import SqliteFeed
from semantic_cache.store.sqlite_file import inode_of, is_damage, open_reader
from semantic_cache.store.sqlite_jobs import (
    Clear,
    Condemn,
    Confirm,
    Delete,
    Job,
    Purge,
    Put,
    Sweep,
    Teach,
    Touch,
)
from semantic_cache.store.sqlite_writer import Writer
from semantic_cache.store.worth import credit_ms

_TOUCH_ROWS = 256
_TOUCH_S = 5.0
_LARGEST_SHARE = 10
_SELECT = (
    "SELECT e.id, e.stale_until, e.entry, p.epochs FROM entries e LEFT JOIN epochs p ON p.tenant = e.tenant"
    " WHERE e.tenant = ? AND e.key = ?"
)
_SCAN = (
    "SELECT e.id, e.tenant, e.key, e.stale_until, e.entry, p.epochs, s.learnt, s.record FROM entries e"
    " LEFT JOIN epochs p ON p.tenant = e.tenant"
    " LEFT JOIN semantic s ON s.tenant = e.tenant AND s.key = e.key"
    " WHERE e.id > ?1 AND (?2 IS NULL OR e.tenant = ?2) ORDER BY e.id LIMIT ?3"
)
_SCAN_ROWS = 200
_EPOCHS = "SELECT epochs FROM epochs WHERE tenant = ?"
_BESIDE = "SELECT learnt, record FROM semantic WHERE tenant = ? AND key = ?"


class SqliteStore:
    """Entries in a file at `path`."""

    waits = False

    def __init__(
        self,
        path: Path,
        budget: Budget | None = None,
        *,
        on_event: OnEvent = ignore_event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the file, made if need be. Raises BadStoreUrl."""
        self._path = path
        self._budget = budget or Budget()
        self._on_event = on_event
        self._clock = clock
        self._reads = Circuit("sqlite reads", on_event)
        self._writes = Circuit("sqlite writes", on_event)
        try:
            self._writer = Writer(path, self._budget, clock, on_event)
            self._reader: sqlite3.Connection | None = open_reader(path)
        except sqlite3.Error as error:
            raise BadStoreUrl(f"The cache's database cannot be opened: {error}.") from None
        self._reader_inode = self._writer.inode
        self._looked_at = time.monotonic()
        self._touched: dict[int, int] = {}
        self._touched_at = time.monotonic()

    async def get(self, key: ExactKey) -> Entry | None:
        found = self._look(key)
        if found.dead:
            self._later(Delete(key))
        return found.entry

    def _look(self, key: ExactKey) -> Found:
        """Return what lies there, served or not."""
        rows = self._read(_SELECT, (key.tenant, key.digest))
        if not rows:
            return NOTHING
        row, stale_until, stored, epochs = rows[0]
        now = self._clock()
        if now >= stale_until:
            return Found(stored, None)
        try:
            entry = decode_entry(stored, key.digest)
        except CorruptEntry:
            self._on_event(StoreEvent.CORRUPT, 1)
            return Found(stored, None, dead=True)
        if (
            epochs is not None and decode_epochs(epochs).dead(entry.epoch, entry.model, entry.tags)
        ) or self._withdrawn(entry):
            return Found(stored, None, dead=True)
        self._touch(row, _milliseconds(now) + credit_ms(entry, len(stored)))
        return Found(stored, entry)

    def _withdrawn(self, entry: Entry) -> bool:
        """Return whether the entry was another one's and has been purged of him."""
        return bool(entry.contributor) and self._epochs_of(entry.contributor).dead(
            entry.contributed, entry.model, entry.tags
        )

    async def put(self, key: ExactKey, entry: Entry, record: Record | None = None) -> bool:
        put = self._to_put(key, entry, record)
        if put is None:
            return False
        await self._done(self._writer.submit_soon, put)
        return True

    def _to_put(self, key: ExactKey, entry: Entry, record: Record | None) -> Put | None:
        stored = encode_entry(entry, key.digest)
        kept = b"" if record is None else encode(record)
        size = len(stored) + len(kept)
        if entry.stale_until <= self._clock() or size > self._budget.bytes // _LARGEST_SHARE:
            return None
        return Put(key, entry.stale_until, stored, credit_ms(entry, len(stored)), kept)

    async def beside(self, key: ExactKey) -> Stored | None:
        rows = self._read(_BESIDE, (key.tenant, key.digest))
        return decode_stored(key, rows[0][1], rows[0][0]) if rows else None

    async def confirm(self, key: ExactKey, entry: Entry, stored: Stored | None = None) -> bool:
        there = self._look(key)
        put = self._to_put(key, entry, None if stored is None else stored.record)
        if put is None or (there.entry is not None and there.entry.fresh(self._clock())):
            return False
        learnt = b"" if stored is None or stored.learnt == NOTHING_LEARNT else encode(stored.learnt)
        confirmed = await self._done(self._writer.submit, Confirm(put, there.stored, learnt))
        assert isinstance(confirmed, bool)
        return confirmed

    async def epochs(self, tenant: str) -> Epochs:
        return self._epochs_of(tenant)

    def _epochs_of(self, tenant: str) -> Epochs:
        rows = self._read(_EPOCHS, (tenant,))
        return decode_epochs(rows[0][0] if rows else None)

    async def purge(self, tenant: str | None, raised: Callable[[Epochs], Epochs]) -> None:
        await self._done(self._writer.submit, Purge(tenant, raised))

    async def teach(self, key: ExactKey, before: bytes, after: bytes) -> bool:
        taught = await self._done(self._writer.submit, Teach(key, before, after))
        assert isinstance(taught, bool)
        return taught

    def feed(self) -> Feed:
        return SqliteFeed(self._path)

    def flights(self) -> None:
        return None

    async def scan(self, tenant: str | None = None) -> AsyncIterator[Kept]:
        row = 0
        while rows := self._read(_SCAN, (row, tenant, _SCAN_ROWS)):
            row = rows[-1][0]
            now = self._clock()
            for _, owner, digest, stale_until, stored, epochs, learnt, record in rows:
                with contextlib.suppress(CorruptEntry):
                    entry, key = decode_entry(stored, digest), ExactKey(owner, digest)
                    dead = decode_epochs(epochs).dead(entry.epoch, entry.model, entry.tags)
                    if now < stale_until and not dead and not self._withdrawn(entry):
                        beside = None if record is None else decode_stored(key, record, learnt)
                        yield Kept(key, entry, beside)
            # Others have their turn between two pages.
            await asyncio.sleep(0)

    async def delete(self, key: ExactKey) -> None:
        await self._done(self._writer.submit, Delete(key))

    async def clear(self, tenant: str | None = None) -> int:
        count = await self._done(self._writer.submit, Clear(tenant))
        assert isinstance(count, int)
        return count

    async def stats(self) -> StoreStats:
        await self._done(self._writer.submit, Sweep())
        ((entries, size),) = self._read("SELECT entries, bytes FROM total", ())
        ((records,),) = self._read("SELECT count(*) FROM semantic", ())
        return StoreStats(entries, size, records)

    async def close(self) -> None:
        self._flush_touches()
        await self._writer.close()
        self._drop_reader()

    async def _done(self, submit: Callable[[Job], asyncio.Future[Any]], job: Job) -> Any:
        self._writes.enter()
        try:
            result = await submit(job)
        except StoreUnavailable:
            self._on_event(StoreEvent.UNAVAILABLE, 1)
            raise
        except (sqlite3.Error, BadStoreUrl, OSError) as error:
            raise self._writes.failed(error) from error
        self._writes.worked()
        return result

    def _read(self, select: str, values: tuple[Any, ...]) -> list[Any]:
        self._reads.enter()
        try:
            rows = self._current().execute(select, values).fetchall()
        except sqlite3.Error as error:
            raise self._cannot_read(error) from error
        self._reads.worked()
        return rows

    def _cannot_read(self, error: sqlite3.Error) -> StoreUnavailable:
        inode = self._reader_inode
        self._drop_reader()
        if is_damage(error):
            self._later(Condemn(self._path, inode, error))
        return self._reads.failed(error)

    def _later(self, job: Job) -> None:
        """Have something done that nobody waits for; a store too busy for it does without."""
        with contextlib.suppress(StoreUnavailable):
            self._writer.submit(job)

    def _current(self) -> sqlite3.Connection:
        now = time.monotonic()
        if self._reader is not None and now - self._looked_at > 1:
            self._looked_at = now
            if inode_of(self._path) != self._reader_inode:
                self._drop_reader()
        if self._reader is None:
            inode = inode_of(self._path)
            self._reader = open_reader(self._path)
            self._reader_inode = inode
        return self._reader

    def _drop_reader(self) -> None:
        if self._reader is not None:
            with contextlib.suppress(sqlite3.Error):
                self._reader.close()
            self._reader = None

    def _touch(self, row: int, moment: int) -> None:
        self._touched[row] = moment
        at = time.monotonic()
        if len(self._touched) >= _TOUCH_ROWS or at - self._touched_at > _TOUCH_S:
            self._touched_at = at
            self._flush_touches()

    def _flush_touches(self) -> None:
        if self._touched:
            self._later(Touch(self._touched))
            self._touched = {}


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
