"""What a worker needs to know of the others: what all have counted, and a request that another one served."""

from __future__ import annotations

import contextlib
from typing import Protocol

from gateway.link import Link
from gateway.messages import AskMetrics, AskSettled
from gateway.state.settled import SettledRequest, SettledRequests
from telemetry.metrics import GatewayMetrics
from telemetry.metrics.merge import Snapshot, snapshot

_PATIENCE_S = 5.0


class Siblings(Protocol):
    """All workers of one gateway, the one that asks included."""

    async def metrics(self) -> Snapshot:
        """Return what all workers have counted, added up."""

    async def settled(self, request_id: str) -> SettledRequest | None:
        """Return a request that any of them remembers."""


class Alone:
    """A gateway of one process that nobody supervises."""

    def __init__(self, metrics: GatewayMetrics, settled: SettledRequests) -> None:
        self._metrics = metrics
        self._settled = settled

    async def metrics(self) -> Snapshot:
        return snapshot(self._metrics.registry)

    async def settled(self, request_id: str) -> SettledRequest | None:
        return self._settled.get(request_id)


class Asked:
    """Asks through the supervisor, which knows all workers."""

    def __init__(self, link: Link, settled: SettledRequests) -> None:
        self._link = link
        self._settled = settled

    async def metrics(self) -> Snapshot:
        # No answer is an error: a scrape that fails is better than one that lacks a worker.
        reply = await self._link.ask(AskMetrics(), _PATIENCE_S)
        assert isinstance(reply, list)
        return reply

    async def settled(self, request_id: str) -> SettledRequest | None:
        if (own := self._settled.get(request_id)) is not None:
            return own
        with contextlib.suppress(TimeoutError):
            reply = await self._link.ask(AskSettled(request_id), _PATIENCE_S)
            return reply if isinstance(reply, SettledRequest) else None
        return None
