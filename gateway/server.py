"""Listens, and shuts down in order: no new connections, running requests to their end, then the upstreams."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.app import Gateway
from gateway.front import Front, Running
from gateway.sockets import BACKLOG, bind, url_of


class Server:
    """Accepts connections on some of the sockets that it was given, and changes which ones."""

    def __init__(self, front: Front, sockets: Sequence[socket.socket]) -> None:
        """The sockets stay their owner's."""
        self._front = front
        self._sockets = sockets
        self._sites: dict[int, web.SockSite] = {}
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Get ready; nothing is accepted yet."""
        # A client that leaves cancels its request, which closes the connection to the upstream.
        server = web.Server(self._front.answer, handler_cancellation=True, access_log=None)
        # Requests have ended before it is cleaned up, see Drain.
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()

    async def accept(self, slots: Iterable[int]) -> None:
        """Accept on exactly these sockets from now on. Connections that were accepted are not touched."""
        assert self._runner is not None
        wanted = set(slots)
        for slot in self._sites.keys() - wanted:
            await self._sites.pop(slot).stop()
        for slot in sorted(wanted - self._sites.keys()):
            # A copy: a site closes its socket when it stops, and another may be opened on it later.
            site = web.SockSite(self._runner, self._sockets[slot].dup(), backlog=BACKLOG)
            await site.start()
            self._sites[slot] = site

    async def close(self) -> None:
        """End all connections, then the gateway."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self._front.current.close()


@asynccontextmanager
async def listening(gateway: Gateway, host: str, port: int, drain_s: float) -> AsyncIterator[str]:
    """Serve one gateway while the block runs; gives the base URL. Afterwards requests may go on `drain_s`."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(listener) for listener in bind(host, port, 1)]
        running = Running(gateway)
        await running.start()
        server = Server(Front(running), sockets)
        try:
            await server.start()
            await server.accept([0])
            yield url_of(sockets[0], host)
            opened.close()
            await server.accept([])
            await gateway.drain.finish(drain_s)
        finally:
            await server.close()
