"""All ledgers behind one fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.state.ledger import redis, sqlite
from gateway.state.ledger.ledger import Ledger
from gateway.state.ledger.redis import RedisAccounts
from gateway.state.ledger.sqlite import SqliteAccounts
from gateway.state.location import sqlite_path


@pytest.fixture
def open_ledger(state_url: str, clock: Any, outages: Any) -> Callable[[], Ledger]:
    """Opens the same accounts as often as it is called, as several processes would."""
    if (path := sqlite_path(state_url)) is not None:
        return lambda: Ledger(SqliteAccounts(path, outages, clock), clock)
    return lambda: Ledger(RedisAccounts(state_url, outages, clock), clock)


@pytest.fixture
async def ledger(open_ledger: Callable[[], Ledger]) -> AsyncIterator[Ledger]:
    opened = open_ledger()
    yield opened
    await opened.close()


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is settled is recorded in the next turn, and not some time later."""
    for store in (redis, sqlite):
        monkeypatch.setattr(store, "_SETTLE_S", 0)
