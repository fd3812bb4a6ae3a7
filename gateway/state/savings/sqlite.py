"""Savings in the SQLite database. Opened for each call: a file that was removed or replaced is noticed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.state.savings.base import KEPT_DAYS, Amount, Place
from gateway.state.sqlite_transaction import transaction

_PATIENCE_S = 1.0
_REMEMBERED_S = 600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS savings (
    tenant TEXT, day INTEGER, name TEXT,
    requests INTEGER NOT NULL, nano_usd INTEGER NOT NULL, micro_s INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS savings_batches (batch TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO savings VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET requests = requests + excluded.requests, nano_usd = nano_usd + excluded.nano_usd,
    micro_s = micro_s + excluded.micro_s
"""
_READ = "SELECT * FROM savings WHERE day >= ? AND (?2 IS NULL OR tenant = ?2) ORDER BY tenant, day, name"


class SqliteSavings:
    """Sums in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._swept: int | None = None
        """The day on which what is too old was last removed."""

    def add(self, amounts: Mapping[Place, Amount], batch: str) -> None:
        now = time.time()
        with transaction(self._path, _SCHEMA, _PATIENCE_S) as db:
            known = db.execute("INSERT OR IGNORE INTO savings_batches VALUES (?, ?)", (batch, int(now)))
            if known.rowcount:
                db.executemany(_ADD, [(*place, *amount) for place, amount in amounts.items()])
            db.execute("DELETE FROM savings_batches WHERE at < ?", (int(now) - _REMEMBERED_S,))
            if self._swept != (today := max(place.day for place in amounts)):
                db.execute("DELETE FROM savings WHERE day < ?", (today - KEPT_DAYS,))
                self._swept = today

    def read(self, tenant: str | None, first_day: int) -> Sequence[tuple[Place, Amount]]:
        if not self._path.exists():
            return []
        with transaction(self._path, _SCHEMA, _PATIENCE_S) as db:
            rows = db.execute(_READ, (first_day, tenant)).fetchall()
        return [(Place(*row[:3]), Amount(*row[3:])) for row in rows]
