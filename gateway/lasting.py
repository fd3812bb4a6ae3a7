"""What a process keeps when its configuration is replaced."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.drain import Drain
from gateway.siblings import Alone, Siblings
from gateway.state.settled import SettledRequests
from telemetry.metrics import GatewayMetrics
from telemetry.setup import Telemetry


@dataclass(frozen=True, slots=True)
class Lasting:
    """Counts, remembered requests, the requests that are running, and the way to the other workers."""

    metrics: GatewayMetrics
    settled: SettledRequests
    drain: Drain
    siblings: Siblings


def lasting_alone(telemetry: Telemetry) -> Lasting:
    """Return the parts of a process that has no siblings."""
    metrics, settled = GatewayMetrics(telemetry.dropped), SettledRequests()
    return Lasting(metrics, settled, Drain(), Alone(metrics, settled))
