"""A worker's part of the savings: added up beside requests, and to the store's once a second.

A store that does not answer costs nothing but time: what could not be added is added later. Only what is
still here when the process is killed is lost, a second's worth where the store answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import StateUnavailable
from gateway.savings.saved import Saved
from gateway.state.ledger.base import DAY_S
from gateway.state.outage import Outage
from gateway.state.savings.base import (
    ACTUAL,
    BATCH,
    DIRECT,
    MICRO,
    UNPRICED,
    Amount,
    Place,
    SavingsStore,
    day_of,
)

FLUSH_S = 1.0
_MOST_PARTS = 10_000
"""Tenants and days that wait for a store which does not answer."""
_CLOSE_S = 5.0


@dataclass(slots=True)
class _Part:
    """What one tenant's requests of one day saved."""

    requests: int = 0
    unpriced: int = 0
    sum: Saved = field(default_factory=Saved)


class SavingsBook:
    """Takes down what requests saved."""

    def __init__(self, store: SavingsStore, outage: Outage, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._outage = outage
        self._clock = clock
        self._open: dict[tuple[str, int], _Part] = {}
        """By tenant and day."""
        self._sent: tuple[str, dict[Place, Amount]] | None = None
        """What is on its way, or was not known to have arrived, under the name of its batch."""
        self._flushing: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def take(self, tenant: str, saved: Saved, *, asked_for: bool) -> None:
        """Add what one request saved. Never fails and never waits.

        `asked_for` requests are counted; the others are only paid for.
        """
        key = (tenant, int(self._clock()) // DAY_S)
        part = self._open.get(key)
        if part is None:
            if len(self._open) >= _MOST_PARTS:
                return
            part = self._open[key] = _Part()
        if saved.priced:
            part.requests += asked_for
            part.sum.direct += saved.direct
            part.sum.actual += saved.actual
            part.sum.batch += saved.batch
        else:
            part.unpriced += asked_for
        for name, layer in saved.layers.items():
            part.sum.add(name, layer.nano_usd, layer.seconds, layer.requests)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_until_empty())

    async def read(self, tenant: str, days: int) -> Sequence[tuple[Place, Amount]]:
        """Return a tenant's sums of the last days, today's included. Raises StateUnavailable.

        What this worker has taken down is in them; what others have, up to a second ago.
        """
        await self._flush()
        first = day_of(self._clock()) - days + 1
        return await asyncio.to_thread(self._store.read, tenant, first)

    async def close(self) -> None:
        """Add what is left, if the store answers."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])
        with contextlib.suppress(StateUnavailable, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._flush()

    async def _flush_until_empty(self) -> None:
        try:
            while self._open or self._sent is not None:
                await asyncio.sleep(FLUSH_S)
                with contextlib.suppress(StateUnavailable):
                    await self._flush()
        finally:
            self._flushing = None

    async def _flush(self) -> None:
        async with self._lock:
            while self._open or self._sent is not None:
                if self._sent is None:
                    amounts = dict(_amounts(self._open))
                    self._sent, self._open = (secrets.token_hex(8), amounts), {}
                name, amounts = self._sent
                try:
                    await asyncio.to_thread(self._store.add, amounts, name)
                except StateUnavailable as error:
                    self._outage.failed(error)
                    raise
                self._outage.worked()
                self._sent = None


def _amounts(parts: Mapping[tuple[str, int], _Part]) -> Iterator[tuple[Place, Amount]]:
    for (tenant, day), part in parts.items():
        total = part.sum
        amounts = {
            DIRECT: Amount(part.requests, total.direct),
            ACTUAL: Amount(part.requests, total.actual),
            # As the difference: most models have no such price.
            BATCH: Amount(0, total.batch - total.direct),
            UNPRICED: Amount(part.unpriced),
        }
        for name, layer in total.layers.items():
            amounts[name] = Amount(layer.requests, layer.nano_usd, round(layer.seconds * MICRO))
        for name, amount in amounts.items():
            if any(amount):
                yield Place(tenant, day, name), amount
