"""Where a Redis server is and what it wants to hear first, as its URL says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, TypeAlias

from redis.asyncio.connection import RedisSSLContext, SSLConnection, UnixDomainSocketConnection, parse_url

Command: TypeAlias = tuple[str | bytes | int | float, ...]

_TLS = "ssl_"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A server's address, and the commands that begin a connection to it."""

    host: str
    port: int
    path: str | None
    """Of a Unix socket; then host and port mean nothing."""
    tls: SSLContext | None
    greeting: tuple[Command, ...]

    @classmethod
    def of(cls, url: str) -> RedisAddress:
        """Read `redis://`, `rediss://` or `unix://`, with redis-py's options for database, names and TLS.

        Raises ValueError or TypeError for what it does not know, RedisError or OSError for a certificate that
        cannot be used.
        """
        options: dict[str, Any] = dict(parse_url(url))
        kind = options.pop("connection_class", None)
        path = options.pop("path", None)
        if kind is UnixDomainSocketConnection and path is None:
            raise ValueError("a Unix socket has a path")
        host, port = options.pop("host", "localhost"), options.pop("port", 6379)
        user, password = options.pop("username", None), options.pop("password", None)
        name, database = options.pop("client_name", None), options.pop("db", 0)
        tls = None
        if kind is SSLConnection:
            names = [name for name in options if name.startswith(_TLS)]
            given = {name.removeprefix(_TLS): options.pop(name) for name in names}
            # Whoever says nothing wants the certificate looked at.
            tls = RedisSSLContext(**{"cert_reqs": "required", "check_hostname": True, **given}).get()
        if options:
            raise ValueError(f"no such option: {', '.join(options)}")
        greeting: list[Command] = []
        if user or password:
            greeting.append(("AUTH", user, password or "") if user else ("AUTH", password))
        if database:
            greeting.append(("SELECT", database))
        if name:
            greeting.append(("CLIENT", "SETNAME", name))
        return cls(host, port, path, tls, tuple(greeting))

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Open a connection for the protocol, which is told of it. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self.path is not None:
            await loop.create_unix_connection(lambda: protocol, self.path)
        else:
            await loop.create_connection(lambda: protocol, self.host, self.port, ssl=self.tls)
