"""Both ledgers behind one fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gateway.state.ledger.base import Ledger
from gateway.state.ledger.redis import RedisLedger
from gateway.state.ledger.sqlite import SqliteLedger


@pytest.fixture(params=["sqlite", "redis"])
def open_ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Any, outages: Any
) -> Callable[[], Ledger]:
    """Opens the same accounts as often as it is called, as several processes would."""
    if request.param == "sqlite":
        return lambda: SqliteLedger(tmp_path / "state.db", outages, clock)
    url = request.getfixturevalue("redis_server").url
    with Redis.from_url(url) as client:
        client.flushall()
    return lambda: RedisLedger(url, outages, clock)


@pytest.fixture
async def ledger(open_ledger: Callable[[], Ledger]) -> AsyncIterator[Ledger]:
    opened = open_ledger()
    yield opened
    await opened.close()
