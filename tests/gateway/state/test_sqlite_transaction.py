"""Transactions of a database that is opened for each."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from gateway.errors import StateUnavailable
from gateway.state.sqlite_transaction import transaction

SCHEMA = "CREATE TABLE IF NOT EXISTS t (n INTEGER)"


def add(path: Path) -> None:
    with transaction(path, SCHEMA, 20.0) as db:
        db.execute("INSERT INTO t VALUES (1)")


def test_processes_that_make_the_file_at_once_all_get_their_turn(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as pool:
        for number in range(10):
            path = tmp_path / f"{number}.db"
            list(pool.map(add, [path] * 4))
            with transaction(path, SCHEMA, 1.0) as db:
                assert db.execute("SELECT count(*) FROM t").fetchone() == (4,)


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with (
        pytest.raises(StateUnavailable, match=r"s\.db: no such table: u"),
        transaction(path, SCHEMA, 1.0) as db,
    ):
        db.execute("INSERT INTO t VALUES (1)")
        db.execute("INSERT INTO u VALUES (1)")
    with transaction(path, SCHEMA, 1.0) as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_who_waits_too_long_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    add(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StateUnavailable, match="locked"), transaction(path, SCHEMA, 0.05):
            pass
    finally:
        other.close()
