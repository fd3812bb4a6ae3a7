"""Outcomes in the SQLite database. Opened for each call: a file that was removed or replaced is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.errors import StateUnavailable
from gateway.state.outcomes.base import MOST, Fresh, Raised
from gateway.state.sqlite_transaction import transaction
from router.online.tried import Tried

_PATIENCE_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS route_outcomes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, route TEXT NOT NULL, tenant TEXT NOT NULL, tried BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS route_outcomes_of ON route_outcomes (route, tenant, seq);
CREATE TABLE IF NOT EXISTS route_alarms (
    route TEXT, tier TEXT, why TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (route, tier)
) WITHOUT ROWID;
"""
_TRIM = """
DELETE FROM route_outcomes WHERE route = ?1 AND tenant = ?2 AND seq <= (
    SELECT seq FROM route_outcomes WHERE route = ?1 AND tenant = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3
)
"""
_RAISE = """
INSERT INTO route_alarms VALUES (?, ?, ?, ?)
ON CONFLICT (route, tier) DO UPDATE SET why = excluded.why, at = excluded.at WHERE excluded.at > at
"""
_SEQ = "seq"


class SqliteOutcomes:
    """Outcomes in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, route: str, tried: Sequence[Tried], alarms: Sequence[Raised]) -> None:
        with transaction(self._path, _SCHEMA, _PATIENCE_S) as db:
            db.executemany(
                "INSERT INTO route_outcomes (route, tenant, tried) VALUES (?, ?, ?)",
                [(route, one.tenant, msgspec.msgpack.encode(one)) for one in tried],
            )
            for tenant in {one.tenant for one in tried}:
                db.execute(_TRIM, (route, tenant, MOST))
            db.executemany(_RAISE, [(route, alarm.tier, alarm.why, alarm.at) for alarm in alarms])

    def since(self, route: str, cursor: dict[str, str]) -> Fresh:
        if not self._path.exists():
            return Fresh((), (), {})
        with transaction(self._path, _SCHEMA, _PATIENCE_S) as db:
            after = int(cursor.get(_SEQ, "0"))
            newest = db.execute("SELECT max(seq) FROM route_outcomes").fetchone()[0] or 0
            if newest < after:
                # Another file is here now.
                after = 0
            rows = db.execute(
                "SELECT tried FROM route_outcomes WHERE route = ? AND seq > ? ORDER BY seq", (route, after)
            ).fetchall()
            alarms = db.execute("SELECT tier, why, at FROM route_alarms WHERE route = ?", (route,)).fetchall()
            try:
                tried = tuple(msgspec.msgpack.decode(raw, type=Tried) for (raw,) in rows)
            except msgspec.DecodeError as error:
                raise StateUnavailable(f"{self._path}: an outcome of a route is damaged") from error
            return Fresh(tried, tuple(Raised(*row) for row in alarms), {_SEQ: str(newest)})
