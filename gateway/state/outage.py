"""Says once that a store is down and once that it is back, however many requests notice."""

from __future__ import annotations

import structlog

from telemetry.metrics import GatewayMetrics

_log = structlog.get_logger("gateway.state")


class Outage:
    """Whether one part of the state (`keys`, `ledger`, `savings`) is out of reach."""

    def __init__(self, part: str, metrics: GatewayMetrics) -> None:
        self._part = part
        self._metrics = metrics
        self._out = False

    def failed(self, error: BaseException) -> None:
        """Count a failure; the first of an outage is logged."""
        self._metrics.state_error(self._part)
        if not self._out:
            self._out = True
            _log.error("state_unavailable", part=self._part, reason=str(error) or type(error).__name__)

    def worked(self) -> None:
        """Note a success, which ends an outage."""
        if self._out:
            self._out = False
            _log.warning("state_available_again", part=self._part)
