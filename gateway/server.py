"""Listens, and shuts down in order: no new connections, running requests to their end, then the upstreams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.app import Gateway
from gateway.errors import ConfigError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@asynccontextmanager
async def listening(gateway: Gateway, host: str, port: int, drain_s: float) -> AsyncIterator[str]:
    """Serve while the block runs; gives the base URL. Afterwards requests may go on for `drain_s` seconds."""
    runner = web.AppRunner(
        gateway.app,
        access_log=None,
        # A client that leaves cancels its request, which closes the connection to the upstream.
        handler_cancellation=True,
        # Requests have ended by then, see below.
        shutdown_timeout=1.0,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    try:
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(f"cannot listen on {host}:{port}: {reason}") from None
        yield _url(runner, host)
        await site.stop()
        await gateway.drain.finish(drain_s)
    finally:
        await runner.cleanup()


async def until_signalled() -> None:
    """Wait for SIGTERM or Ctrl-C. The next one ends the process at once, as it would have without us."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in _SIGNALS:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


def _url(runner: web.AppRunner, host: str) -> str:
    port = runner.addresses[0][1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
