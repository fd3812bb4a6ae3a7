"""`/metrics` in Prometheus' text or OpenMetrics format."""

from __future__ import annotations

from aiohttp import web

from gateway.siblings import Siblings
from telemetry.metrics.merge import render_snapshot


class MetricsPage:
    """Renders what all workers have counted."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings

    async def page(self, request: web.BaseRequest) -> web.Response:
        """`GET /metrics`"""
        families = await self._siblings.metrics()
        body, content_type = render_snapshot(families, request.headers.get("accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})
