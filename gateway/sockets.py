"""The listening sockets of a gateway: one for each worker, all on the same port.

Each worker has a socket of its own (SO_REUSEPORT), so that the kernel spreads connections evenly; with one
socket for all, whoever wakes first takes a whole burst, and keeps it for as long as the clients keep their
connections. The price of SO_REUSEPORT is that what waits in a socket's queue is lost when it closes. So the
supervisor owns all sockets and workers inherit them: one that dies closes none, and until it is replaced a
sibling accepts from its queue.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import Any

from gateway.errors import ConfigError

BACKLOG = 1024
_SPREADS = sys.platform == "linux"
"""Elsewhere SO_REUSEPORT does not spread connections: there all workers share one socket."""


_Address = tuple[Any, ...]


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` listening sockets; port 0 takes a free one for all of them. Raises ConfigError."""
    shared = count > 1 and _SPREADS
    with contextlib.ExitStack() as opened:
        try:
            family, address = _address(host, port)
            if shared and port:
                # SO_REUSEPORT would let a second gateway of this user share the port without a word.
                with _bound(family, address, shared=False):
                    pass
            first = opened.enter_context(_bound(family, address, shared=shared))
            listeners = [first]
            for _ in range(count - 1):
                more = _bound(family, first.getsockname(), shared=True) if shared else first.dup()
                listeners.append(opened.enter_context(more))
            for listener in listeners:
                listener.listen(BACKLOG)
                listener.setblocking(False)
        except OSError as error:
            reason = (
                os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            )
            raise ConfigError(f"cannot listen on {host}:{port}: {reason}") from None
        opened.pop_all()
        return listeners


def url_of(listener: socket.socket, host: str) -> str:
    """Return the base URL of a listening socket."""
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _address(host: str, port: int) -> tuple[socket.AddressFamily, _Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # `localhost` may be both: what IPv4-only clients reach comes first.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, address


def _bound(family: socket.AddressFamily, address: _Address, *, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener
