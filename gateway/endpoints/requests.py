"""`/forebay/requests/{id}`: what one of the last requests took and cost."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gateway.endpoints.route import PARAMETERS
from gateway.errors import RequestNotFound
from gateway.siblings import Siblings
from gateway.state.keys.keyring import Keyring


class Requests:
    """Shows settled requests to the tenant that they are of."""

    def __init__(self, siblings: Siblings, keyring: Keyring) -> None:
        self._siblings = siblings
        self._keyring = keyring

    async def one(self, request: web.BaseRequest) -> web.Response:
        """`GET /forebay/requests/{id}`; raises Unauthenticated, RequestNotFound."""
        tenant = self._keyring.identify(request.headers.get("authorization")).tenant
        record = await self._siblings.settled(request[PARAMETERS]["id"])
        if record is None or record.tenant != tenant:
            raise RequestNotFound(
                "No request of this id is remembered: it is unknown, too old, or still running."
            )
        return web.Response(body=msgspec.json.encode(record), content_type="application/json")
