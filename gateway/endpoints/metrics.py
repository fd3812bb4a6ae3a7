"""`/metrics` in Prometheus' text or OpenMetrics format."""

from __future__ import annotations

from aiohttp import web

from telemetry.metrics import GatewayMetrics


class MetricsPage:
    """Renders the gateway's metrics."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics

    async def page(self, request: web.Request) -> web.Response:
        """`GET /metrics`"""
        body, content_type = self._metrics.render(request.headers.get("accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})
