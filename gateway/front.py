"""The HTTP application that stays while the gateway behind it is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from aiohttp import web

from gateway.app import Gateway
from gateway.endpoints.failures import failures_in_openai_shape

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Running:
    """A gateway whose parts run, and the requests that it is answering."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._handlers = {(route.method, route.path): route.handler for route in gateway.routes}
        self._parts = AsyncExitStack()
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Start the parts. Whatever goes wrong, nothing of it is left running."""
        await self._parts.enter_async_context(self.gateway.running())

    async def answer(self, key: tuple[str, str], request: web.Request) -> web.StreamResponse:
        """Answer a request; it belongs to this gateway to its end."""
        self._requests += 1
        self._idle.clear()
        try:
            response: web.StreamResponse = await self._handlers[key](request)
            return response
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    async def close(self) -> None:
        """Stop the parts."""
        await self._parts.aclose()

    async def retire(self) -> None:
        """Wait for the last request, then stop the parts."""
        await self._idle.wait()
        await self.close()


class Front:
    """Sends each request to the gateway of the moment. Its routes are the same under every configuration."""

    def __init__(self, first: Running) -> None:
        """`first` has been started. Whoever replaces or stops a gateway closes it."""
        self.current = first
        self.app = web.Application(middlewares=[failures_in_openai_shape])
        self.app.add_routes(
            web.RouteDef(route.method, route.path, self._handler(route), route.kwargs)
            for route in first.gateway.routes
        )

    def _handler(self, route: web.RouteDef) -> Answer:
        key = (route.method, route.path)

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self.current.answer(key, request)

        return answer

    def replace(self, following: Running) -> Running:
        """Let a gateway that has been started answer from now on; returns the one before it."""
        before, self.current = self.current, following
        return before
