"""The SQLite database as a file: its schema, who may open it, and what happens when it is damaged.

It holds questions' answers, so only its owner may read it. A damaged file is moved aside with its journal and
a new one begun: nothing in it is worth more than the service.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from semantic_cache.errors import BadStoreUrl

_log = structlog.get_logger("semantic_cache.store")

APPLICATION_ID = 0x46424159
SCHEMA = 4
_BUSY_MS = 2000
_CACHE_KIB = 4096
_JOURNAL_BYTES = 16 * 1024 * 1024
_JOURNAL_PAGES = _JOURNAL_BYTES // 4096
# Primary result codes, https://www.sqlite.org/rescode.html
_CORRUPT, _NOT_A_DATABASE = 11, 26

# Whoever inserts adds to the total and to each tenant's holdings, once a transaction; what goes is counted
# row by row, however it goes. The blob stands last, so that what is read of other columns never touches its
# overflow pages. `changes` says which records have changed, in order, and whatever changes them writes it in
# the same transaction; what has become of one is read from `semantic`. An empty key stands for the tenant's
# epochs. The id in `feed` is that of this very database: a follower whose database was begun anew sees it.
_TABLES = """
CREATE TABLE entries (
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL,
  used INTEGER NOT NULL,
  stale_until REAL NOT NULL,
  size INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  entry BLOB NOT NULL,
  UNIQUE (tenant, key)
);
CREATE INDEX entries_used ON entries (tenant, used);
CREATE INDEX entries_stale_until ON entries (stale_until);
CREATE TABLE total (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO total VALUES (0, 0);
CREATE TABLE holdings (
  tenant TEXT PRIMARY KEY,
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER entry_gone AFTER DELETE ON entries BEGIN
  UPDATE total SET entries = entries - 1, bytes = bytes - old.size;
  UPDATE holdings SET entries = entries - 1, bytes = bytes - old.size WHERE tenant = old.tenant;
  DELETE FROM semantic WHERE tenant = old.tenant AND key = old.key;
END;

CREATE TABLE semantic (
  id INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  key BLOB NOT NULL,
  learnt BLOB NOT NULL,
  record BLOB NOT NULL,
  UNIQUE (tenant, key)
);
CREATE TABLE epochs (tenant TEXT PRIMARY KEY, epochs BLOB NOT NULL);
CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, key BLOB NOT NULL);
CREATE TABLE feed (id BLOB NOT NULL);
INSERT INTO feed VALUES (randomblob(16));
CREATE TRIGGER record_put AFTER INSERT ON semantic BEGIN
  INSERT INTO changes (tenant, key) VALUES (new.tenant, new.key);
END;
CREATE TRIGGER record_changed AFTER UPDATE ON semantic BEGIN
  INSERT INTO changes (tenant, key) VALUES (new.tenant, new.key);
END;
CREATE TRIGGER record_gone AFTER DELETE ON semantic BEGIN
  INSERT INTO changes (tenant, key) VALUES (old.tenant, old.key);
END;
CREATE TRIGGER epochs_put AFTER INSERT ON epochs BEGIN
  INSERT INTO changes (tenant, key) VALUES (new.tenant, x'');
END;
"""


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the error says that the file itself is broken."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (_CORRUPT, _NOT_A_DATABASE)


def inode_of(path: Path) -> int | None:
    """Return which file stands at the path now: another process may have moved ours aside."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the database to write, made or replaced if need be. Raises BadStoreUrl, sqlite3.Error."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(path):
            # SQLite would make the file by the umask; journal and shared memory take the file's own mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            try:
                return _open(path)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                _move_aside(path, error)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                return _open(path)
    except OSError as error:
        raise BadStoreUrl(f"The cache's database cannot be opened: {error}.") from None


def replace_damaged(path: Path, inode: int | None, error: sqlite3.Error) -> None:
    """Move the damaged file aside, unless another process has done so already."""
    with _alone(path):
        if inode is not None and inode_of(path) == inode:
            _move_aside(path, error)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database for short reads that never wait. Raises sqlite3.Error."""
    connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
    try:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA query_only = 1")
        # Takes up the file now: otherwise the first reader finds out what is wrong with it.
        connection.execute("SELECT entries FROM total").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    # No mode=rwc: whoever makes the file also sees to its permissions.
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000
    )


def _open(path: Path) -> sqlite3.Connection:
    connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    if application != APPLICATION_ID and names:
        raise BadStoreUrl(f"The database {path.name} belongs to another program; give the cache its own.")
    connection.execute("PRAGMA journal_mode = WAL")
    # With WAL a loss of power may take the last entries, never the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    # Without it a row that REPLACE drops would pass over the trigger that counts.
    connection.execute("PRAGMA recursive_triggers = 1")
    if application == APPLICATION_ID and schema == SCHEMA:
        # A damage that every call would come upon shows now.
        connection.execute("SELECT entries, bytes FROM total").fetchall()
        return
    drop = "".join(f"DROP TABLE {name};" for name in names if not name.startswith("sqlite_"))
    connection.executescript(
        f"BEGIN IMMEDIATE; {drop} {_TABLES} PRAGMA application_id = {APPLICATION_ID};"
        f"PRAGMA user_version = {SCHEMA}; COMMIT;"
    )


def _move_aside(path: Path, error: sqlite3.Error) -> None:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    _log.error("store_damaged", path=str(path), moved_to=str(aside), error=str(error))


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from opening or replacing the file meanwhile."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
