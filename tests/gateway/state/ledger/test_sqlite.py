"""What is particular to accounts in a file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger import sqlite_file
from gateway.state.ledger.base import Ask, Grant, Used
from gateway.state.ledger.sqlite import SqliteLedger

LIMITS = Limits(rpm=10**6, tpm=10**9, usd_per_day=1000)
ASK = Ask(10, 10, 10, 10)


@pytest.fixture
async def ledger(tmp_path: Path, outages: Any, clock: Any) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "folder" / "state.db", outages, clock)
    yield opened
    await opened.close()


async def test_nothing_is_made_before_it_is_needed(ledger: SqliteLedger, tmp_path: Path) -> None:
    assert not (tmp_path / "folder").exists()
    await ledger.reserve("t", LIMITS, ASK)
    assert (tmp_path / "folder" / "state.db").stat().st_mode & 0o077 == 0


async def test_what_no_longer_counts_is_forgotten_and_the_log_stays_small(
    ledger: SqliteLedger, tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "TIDY_EVERY", 50)
    for _ in range(3):
        for _ in range(60):
            await ledger.reserve("t", LIMITS, ASK)
            clock.now += 10_000
        assert ledger._file._tidying is not None
        await ledger._file._tidying
    path = tmp_path / "folder" / "state.db"
    with sqlite3.connect(path) as db:
        left = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("taken", "spent")]
    db.close()
    assert left[0] < 60 and left[1] < 60
    assert path.with_name("state.db-wal").stat().st_size < 1_000_000


async def test_a_caller_waits_for_another_process_and_no_longer_than_that(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    await ledger.reserve("t", LIMITS, ASK)
    other = sqlite3.connect(tmp_path / "folder" / "state.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(ledger.reserve("t", LIMITS, ASK))
        await asyncio.sleep(0)
        assert not waiting.done()
        other.execute("COMMIT")
        assert isinstance(await waiting, Grant)
    finally:
        other.close()


async def test_a_settlement_waits_for_the_database_and_is_not_lost(
    ledger: SqliteLedger, tmp_path: Path, clock: Any
) -> None:
    grant = await ledger.reserve("t", Limits(tpm=100), Ask(100, 0, 100, 0))
    assert isinstance(grant, Grant)
    path = tmp_path / "folder" / "state.db"
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        ledger.settle(grant.reservation, Used(1, 40))
        with pytest.raises(StateUnavailable):
            await ledger.reserve("t", Limits(tpm=100), Ask(60, 0, 60, 0))
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert isinstance(await ledger.reserve("t", Limits(tpm=100), Ask(60, 0, 60, 0)), Grant)


async def test_a_database_on_no_disk_is_unavailable(tmp_path: Path, outages: Any, clock: Any) -> None:
    (tmp_path / "file").write_text("")
    ledger = SqliteLedger(tmp_path / "file" / "state.db", outages, clock)
    with pytest.raises(StateUnavailable):
        await ledger.reserve("t", LIMITS, ASK)
    assert len(outages.failures) == 1
    await ledger.close()


async def test_a_caller_cancelled_in_the_turn_of_its_decision_takes_nothing(ledger: SqliteLedger) -> None:
    one = Limits(rpm=1)
    for turns in range(4):
        caller = asyncio.create_task(ledger.reserve("t", one, Ask()))
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        if not caller.cancelled():
            grant = caller.result()
            assert isinstance(grant, Grant)
            ledger.settle(grant.reservation, Used())
    assert isinstance(await ledger.reserve("t", one, Ask()), Grant)


async def test_callers_of_one_turn_share_a_transaction(ledger: SqliteLedger) -> None:
    grants = await asyncio.gather(*(ledger.reserve("t", Limits(rpm=60), Ask()) for _ in range(100)))
    assert sum(isinstance(grant, Grant) for grant in grants) == 60
    assert ledger._file._transactions == 1
