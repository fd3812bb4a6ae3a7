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
from gateway.state.ledger.accounts import Taken
from gateway.state.ledger.base import Ask, Used
from gateway.state.ledger.sqlite import SqliteAccounts

LIMITS = Limits(rpm=10**6, tpm=10**9, usd_per_day=1000)
ASK = Ask(10, 10, 10, 10)


@pytest.fixture
async def accounts(tmp_path: Path, outages: Any, clock: Any) -> AsyncIterator[SqliteAccounts]:
    opened = SqliteAccounts(tmp_path / "folder" / "state.db", outages, clock)
    yield opened
    await opened.close()


async def test_nothing_is_made_before_it_is_needed(accounts: SqliteAccounts, tmp_path: Path) -> None:
    assert not (tmp_path / "folder").exists()
    await accounts.take("t", LIMITS, ASK, 1)
    assert (tmp_path / "folder" / "state.db").stat().st_mode & 0o077 == 0


async def test_what_no_longer_counts_is_forgotten_and_the_log_stays_small(
    accounts: SqliteAccounts, tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "TIDY_EVERY", 50)
    for _ in range(3):
        for _ in range(60):
            await accounts.take("t", LIMITS, ASK, 1)
            clock.now += 10_000
        assert accounts._file._tidying is not None
        await accounts._file._tidying
    path = tmp_path / "folder" / "state.db"
    with sqlite3.connect(path) as db:
        left = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("taken", "spent")]
    db.close()
    assert left[0] < 60 and left[1] < 60
    assert path.with_name("state.db-wal").stat().st_size < 1_000_000


async def test_a_caller_waits_for_another_process_and_no_longer_than_that(
    accounts: SqliteAccounts, tmp_path: Path
) -> None:
    await accounts.take("t", LIMITS, ASK, 1)
    other = sqlite3.connect(tmp_path / "folder" / "state.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(accounts.take("t", LIMITS, ASK, 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        other.execute("COMMIT")
        assert isinstance(await waiting, Taken)
    finally:
        other.close()


async def test_a_settlement_waits_for_the_database_and_is_not_lost(
    accounts: SqliteAccounts, tmp_path: Path, clock: Any
) -> None:
    taken = await accounts.take("t", Limits(tpm=100), Ask(100, 0, 100, 0), 1)
    assert isinstance(taken, Taken)
    path = tmp_path / "folder" / "state.db"
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        taken.lease.settle(taken.lease.hand_out(Ask(100)), Used(1, 40))
        accounts.settle(taken.lease)
        with pytest.raises(StateUnavailable):
            await accounts.take("t", Limits(tpm=100), Ask(60, 0, 60, 0), 1)
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert isinstance(await accounts.take("t", Limits(tpm=100), Ask(60, 0, 60, 0), 1), Taken)


async def test_a_database_on_no_disk_is_unavailable(tmp_path: Path, outages: Any, clock: Any) -> None:
    (tmp_path / "file").write_text("")
    accounts = SqliteAccounts(tmp_path / "file" / "state.db", outages, clock)
    with pytest.raises(StateUnavailable):
        await accounts.take("t", LIMITS, ASK, 1)
    assert len(outages.failures) == 1
    await accounts.close()


async def test_a_caller_cancelled_in_the_turn_of_its_decision_takes_nothing(accounts: SqliteAccounts) -> None:
    one = Limits(rpm=1)
    for turns in range(4):
        caller = asyncio.create_task(accounts.take("t", one, Ask(), 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        if not caller.cancelled():
            taken = caller.result()
            assert isinstance(taken, Taken)
            taken.lease.give_back()
            accounts.settle(taken.lease)
    assert isinstance(await accounts.take("t", one, Ask(), 1), Taken)


async def test_callers_of_one_turn_share_a_transaction(accounts: SqliteAccounts) -> None:
    decisions = await asyncio.gather(*(accounts.take("t", Limits(rpm=60), Ask(), 1) for _ in range(100)))
    assert sum(isinstance(decision, Taken) for decision in decisions) == 60
    assert accounts._file._transactions == 1
