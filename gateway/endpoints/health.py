"""`/health`: the process is alive. `/health/ready`: it should be sent requests."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from gateway.drain import Drain
from gateway.upstreams.base import State, Upstream


class Health:
    """Answers probes."""

    def __init__(self, upstreams: Mapping[str, Upstream], drain: Drain) -> None:
        self._upstreams = upstreams
        self._drain = drain

    async def alive(self, request: web.BaseRequest) -> web.Response:
        """`GET /health`"""
        return _json(200, {"status": "ok"})

    async def ready(self, request: web.BaseRequest) -> web.Response:
        """`GET /health/ready`: 503 while an upstream of ours is not ready, or we are shutting down."""
        states = {name: upstream.state.value for name, upstream in self._upstreams.items()}
        waiting = any(state != State.READY.value for state in states.values())
        status = "draining" if self._drain.draining else "starting" if waiting else "ready"
        return _json(200 if status == "ready" else 503, {"status": status, "upstreams": states})


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
