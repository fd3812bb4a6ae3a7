"""Finds the handler of each HTTP request; it stays while the gateway behind it is replaced.

Nearly all requests name one of a few fixed paths, which are looked up in a table. aiohttp's `Application`
would walk over its routes and middlewares for each, some 15 µs; its router is asked about all others.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from aiohttp import web
from aiohttp.web_urldispatcher import AbstractRoute

from gateway.app import Gateway
from gateway.endpoints.failures import failure
from gateway.endpoints.route import PARAMETERS, Key


class Running:
    """A gateway whose parts run, and the requests that it is answering."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._handlers = gateway.routes
        self._parts = AsyncExitStack()
        self._requests = 0
        self._idle: asyncio.Event | None = None

    async def start(self) -> None:
        """Start the parts. Whatever goes wrong, nothing of it is left running."""
        await self._parts.enter_async_context(self.gateway.running())

    async def answer(self, key: Key, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; it belongs to this gateway to its end."""
        self._requests += 1
        try:
            return await self._handlers[key](request)
        finally:
            self._requests -= 1
            if self._idle is not None and not self._requests:
                self._idle.set()

    async def close(self) -> None:
        """Stop the parts."""
        await self._parts.aclose()

    async def retire(self) -> None:
        """Wait for the last request, then stop the parts."""
        if self._requests:
            self._idle = asyncio.Event()
            await self._idle.wait()
        await self.close()


class Front:
    """Sends each request to the gateway of the moment. Its routes are the same under every configuration."""

    def __init__(self, first: Running) -> None:
        """`first` has been started. Whoever replaces or stops a gateway closes it."""
        self.current = first
        self._fixed = {key for key in first.gateway.routes if "{" not in key[1]}
        self._router = web.UrlDispatcher()
        self._keys: dict[AbstractRoute, Key] = {}
        for method, path in first.gateway.routes:
            for accepted in ("GET", "HEAD") if method == "GET" else (method,):
                self._keys[self._router.add_route(accepted, path, _found)] = method, path

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request, with OpenAI's error object where there is nothing to answer it."""
        try:
            key = (request.method, request.raw_path)
            if key not in self._fixed:
                key = await self._resolve(request)
            return await self.current.answer(key, request)
        except ConnectionError:
            raise
        except Exception as error:
            return failure(request, error)

    async def _resolve(self, request: web.BaseRequest) -> Key:
        """Return the route of a path with a query or with parameters."""
        # The router's signature asks for an application's request; it looks at method and URL only.
        match = await self._router.resolve(request)  # type: ignore[arg-type]
        if match.http_exception is not None:
            raise match.http_exception
        request[PARAMETERS] = dict(match)
        return self._keys[match.route]

    def replace(self, following: Running) -> Running:
        """Let a gateway that has been started answer from now on; returns the one before it."""
        before, self.current = self.current, following
        return before


async def _found(request: web.Request) -> web.StreamResponse:
    raise NotImplementedError("the router only says which route it is")
