"""What a worker needs to know of the others: what all have counted, and a request that another one served."""

from __future__ import annotations

from typing import Protocol

from gateway.state.settled import SettledRequest, SettledRequests
from telemetry.metrics import GatewayMetrics
from telemetry.metrics.merge import Snapshot, snapshot


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
