"""Seeing a ledger's settlements through: it records them when it finds the time."""

from __future__ import annotations

import asyncio

from gateway.state.ledger.ledger import Ledger
from gateway.state.ledger.redis import RedisAccounts


async def recorded(ledger: Ledger, every_s: float = 0.001) -> None:
    """Return once all that was settled stands in the accounts."""
    accounts = ledger._accounts
    async with asyncio.timeout(10):
        while accounts._unsettled:  # type: ignore[attr-defined]
            await asyncio.sleep(every_s)
        # What has been sent is no longer unsettled, but Redis may not have seen it yet.
        if isinstance(accounts, RedisAccounts) and accounts._settling is not None:
            await asyncio.wait([accounts._settling])
