"""Keys in the SQLite database. Opened for each call: a file that was removed or replaced is noticed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.keys.base import Snapshot
from gateway.state.keys.key import KeyRecord
from gateway.state.sqlite_transaction import transaction

_PATIENCE_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, key_hash TEXT NOT NULL,
    created INTEGER NOT NULL, revoked INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tenant_limits (tenant TEXT PRIMARY KEY, limits BLOB NOT NULL) WITHOUT ROWID;
"""


class SqliteKeys:
    """Keys in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, record: KeyRecord, limits: Limits | None) -> None:
        with transaction(self._path, _SCHEMA, _PATIENCE_S) as db:
            db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(record))
            if limits is not None:
                db.execute(
                    "INSERT OR REPLACE INTO tenant_limits VALUES (?, ?)",
                    (record.tenant, msgspec.json.encode(limits)),
                )

    def revoke(self, key_id: str, now: int) -> bool:
        with transaction(self._path, _SCHEMA, _PATIENCE_S) as db:
            done = db.execute(
                "UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, key_id)
            ).rowcount
        return done == 1

    def snapshot(self) -> Snapshot:
        if not self._path.exists():
            return Snapshot()
        with transaction(self._path, _SCHEMA, _PATIENCE_S) as db:
            rows = db.execute("SELECT id, tenant, key_hash, created, revoked FROM keys ORDER BY created, id")
            keys = tuple(KeyRecord(*row) for row in rows)
            limits = dict(db.execute("SELECT tenant, limits FROM tenant_limits").fetchall())
            try:
                return Snapshot(
                    keys, {name: msgspec.json.decode(raw, type=Limits) for name, raw in limits.items()}
                )
            except msgspec.DecodeError as error:
                raise StateUnavailable(f"{self._path}: the limits of a tenant are damaged") from error
