"""One transaction of a SQLite database that is opened for it, for state that is seldom asked for: a file that
was removed or replaced meanwhile is noticed."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import StateUnavailable
from gateway.state.location import make_private

_PAUSE_S = 0.01


@contextlib.contextmanager
def transaction(path: Path, schema: str, patience_s: float) -> Iterator[sqlite3.Connection]:
    """Give a transaction in which the tables of `schema` exist; it waits up to `patience_s` for others.

    Raises StateUnavailable.
    """
    try:
        make_private(path)
        with contextlib.closing(sqlite3.connect(path, timeout=patience_s, isolation_level=None)) as db:
            _write_ahead(db, time.monotonic() + patience_s)
            with immediate(db):
                for statement in schema.split(";"):
                    db.execute(statement)
                yield db
    except (sqlite3.Error, OSError) as error:
        raise StateUnavailable(f"{path}: {error}") from error


@contextlib.contextmanager
def immediate(db: sqlite3.Connection) -> Iterator[None]:
    """Write from the beginning on; whatever is raised inside undoes all of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _write_ahead(db: sqlite3.Connection, until_s: float) -> None:
    # Who makes a file while another process does is told "locked" at once here, whatever the timeout.
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                raise
            time.sleep(_PAUSE_S)
