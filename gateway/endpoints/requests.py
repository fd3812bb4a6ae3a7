"""`/forebay/requests/{id}`: what one of the last requests took and cost."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gateway.errors import RequestNotFound
from gateway.state.settled import SettledRequests


class Requests:
    """Shows settled requests to whoever knows their id."""

    def __init__(self, settled: SettledRequests) -> None:
        self._settled = settled

    async def one(self, request: web.Request) -> web.Response:
        """`GET /forebay/requests/{id}`; raises RequestNotFound."""
        record = self._settled.get(request.match_info["id"])
        if record is None:
            raise RequestNotFound(
                "No request of this id is remembered: it is unknown, too old, or still running."
            )
        return web.Response(body=msgspec.json.encode(record), content_type="application/json")
