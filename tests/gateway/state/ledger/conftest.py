"""All ledgers behind one fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.state.ledger.base import Ledger
from gateway.state.ledger.redis import RedisLedger
from gateway.state.ledger.sqlite import SqliteLedger
from gateway.state.location import sqlite_path


@pytest.fixture
def open_ledger(state_url: str, clock: Any, outages: Any) -> Callable[[], Ledger]:
    """Opens the same accounts as often as it is called, as several processes would."""
    if (path := sqlite_path(state_url)) is not None:
        return lambda: SqliteLedger(path, outages, clock)
    return lambda: RedisLedger(state_url, outages, clock)


@pytest.fixture
async def ledger(open_ledger: Callable[[], Ledger]) -> AsyncIterator[Ledger]:
    opened = open_ledger()
    yield opened
    await opened.close()
