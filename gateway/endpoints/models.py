"""`/v1/models`: the configured names and, if they are quickly to be had, those of the pass-through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec
import structlog
from aiohttp import web

from gateway.config.schema import ANY_MODEL, Config
from gateway.endpoints.route import PARAMETERS
from gateway.errors import ModelNotFound, UpstreamError
from gateway.state.keys.keyring import Keyring
from gateway.upstreams.base import ModelCard, Upstream

OWNER = "forebay"
_QUICKLY_S = 2.0
_FRESH_S = 60.0
_log = structlog.get_logger("gateway.models")


class Models:
    """Lists and looks up models."""

    def __init__(self, config: Config, pass_through: Upstream | None, keyring: Keyring) -> None:
        """`pass_through` is the upstream behind the model `*`."""
        self._keyring = keyring
        created = int(time.time())
        names = [*config.routes, *(name for name in config.models if name != ANY_MODEL)]
        self._configured = {name: ModelCard(name, created, OWNER) for name in names}
        self._pass_through = pass_through
        self._others: Sequence[ModelCard] = ()
        self._others_until = 0.0
        self._asking = asyncio.Lock()

    async def list(self, request: web.BaseRequest) -> web.Response:
        """`GET /v1/models`; raises Unauthenticated."""
        self._keyring.identify(request.headers.get("authorization"))
        cards = await self._all()
        return _json({"object": "list", "data": list(cards.values())})

    async def one(self, request: web.BaseRequest) -> web.Response:
        """`GET /v1/models/{id}`; raises Unauthenticated, ModelNotFound."""
        self._keyring.identify(request.headers.get("authorization"))
        name = request[PARAMETERS]["id"]
        card = self._configured.get(name) or (await self._all()).get(name)
        if card is None:
            raise ModelNotFound(name)
        return _json(card)

    async def _all(self) -> dict[str, ModelCard]:
        cards = dict(self._configured)
        for card in await self._pass_through_models():
            # Ours hide theirs, as they do when a request is routed.
            cards.setdefault(card.id, card)
        return cards

    async def _pass_through_models(self) -> Sequence[ModelCard]:
        if self._pass_through is None:
            return ()
        async with self._asking:
            if time.monotonic() >= self._others_until:
                try:
                    async with asyncio.timeout(_QUICKLY_S):
                        self._others = await self._pass_through.models()
                except (UpstreamError, TimeoutError) as error:
                    # An old list is better than none; either way the answer does not wait for the next try.
                    _log.warning(
                        "models_not_listed", upstream=self._pass_through.name, error=type(error).__name__
                    )
                self._others_until = time.monotonic() + _FRESH_S
            return self._others


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
