"""Makes connections: names through the loop's resolver, IPv6 and IPv4 side by side, TLS for https."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable

import aiohappyeyeballs

from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.errors import ConnectFailed, ConnectTimeout
from gateway.upstreams.http1.origin import Origin

_HEAD_START_S = 0.25
"""How long an address may take before the next is tried beside it (RFC 8305, section 5)."""


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return what all TLS connections share: the system's authorities, or those that SSL_CERT_FILE names.

    Reading them takes some 25 ms, so it is done once.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(origin: Origin, make: Callable[[], Connection], patience_s: float) -> Connection:
    """Return a new connection. Raises ConnectFailed, ConnectTimeout."""
    try:
        async with asyncio.timeout(patience_s) as clock:
            return await _connect(origin, make)
    except TimeoutError as error:
        # A network's own timeout has the same type and is none of ours.
        if clock.expired():
            raise ConnectTimeout(f"no connection within {patience_s:g} seconds") from None
        raise ConnectFailed(str(error)) from error
    except (OSError, UnicodeError) as error:
        # A name that cannot be a host's is a UnicodeError. A certificate's error says what is wrong with it.
        raise ConnectFailed(str(error)) from error


async def _connect(origin: Origin, make: Callable[[], Connection]) -> Connection:
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    # uvloop's `create_connection` tries addresses one by one only.
    sock = await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=_HEAD_START_S, interleave=1, loop=loop
    )
    try:
        _, connection = await loop.create_connection(
            make,
            sock=sock,
            ssl=tls_context() if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
    except BaseException:
        sock.close()
        raise
    return connection
