"""Requests to one origin, each answered by a response that is read and closed by whoever asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.decode import Decoder
from gateway.upstreams.http1.errors import Closed, Unsent
from gateway.upstreams.http1.origin import Origin
from gateway.upstreams.http1.pool import Pool
from gateway.upstreams.http1.request import request_head


class Response:
    """Status and headers of a response, and its content as it comes in. `close` it, however it ended."""

    __slots__ = ("_connection", "_decoder", "_pool", "headers", "status")

    def __init__(self, pool: Pool, connection: Connection) -> None:
        """Raises ProtocolError if the content's encoding is not known."""
        self.status = connection.status
        self.headers = connection.headers
        """By names in lower case."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        self._decoder = None if encoding in ("", "identity") else Decoder(encoding)
        self._pool: Pool | None = pool
        self._connection = connection

    async def read(self, patience_s: float) -> bytes:
        """Return some content, or b"" at its end; waits so long for more of it.

        Raises TimedOut, Closed, ProtocolError.
        """
        if self._pool is None:
            raise Closed("the response was closed")
        if self._decoder is None:
            return await self._connection.read(patience_s)
        return await self._decoded(self._decoder, patience_s)

    async def _decoded(self, decoder: Decoder, patience_s: float) -> bytes:
        while not (piece := decoder.piece()):
            data = await self._connection.read(patience_s)
            if not data:
                decoder.end()
                return b""
            decoder.feed(data)
        # A read may hold very many pieces; the other requests get their turn between them.
        await asyncio.sleep(0)
        return piece

    def close(self) -> None:
        """Free the connection; it is closed unless all of the response has come."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.release(self._connection)


class Client:
    """Follows no redirect, keeps no cookie, reads no environment: it sends what it is given."""

    def __init__(self, base_url: str, limit: int, connect_s: float) -> None:
        """`limit` bounds the connections, `connect_s` the time to make one. Raises ValueError."""
        self._origin = Origin.of(base_url)
        self._pool = Pool(self._origin, limit, connect_s)

    @property
    def in_use(self) -> int:
        """Connections that carry a request now."""
        return self._pool.in_use

    @property
    def open(self) -> int:
        """Connections that carry a request now, or are kept for the next."""
        return self._pool.in_use + self._pool.idle

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline_s: float
    ) -> Response:
        """Send a request and return its response once the head is here.

        `deadline_s` is for all of that, on the loop's clock.
        A server may close a kept connection just when a request is written to it. The request is sent again
        then, on a new connection: a GET if nothing of a response has come, any other one only if the server
        cannot have read it (RFC 9110, 9.2.2), since a model that has begun to answer would be paid for twice.
        Raises ConnectFailed, TimedOut, Closed, ProtocolError.
        """
        length = None if body is None else len(body)
        head = request_head(method, self._origin.prefix + path, self._origin.authority, headers, length)
        connection = await self._pool.acquire(deadline_s)
        try:
            await connection.request(head, body or b"", deadline_s)
            return Response(self._pool, connection)
        except Closed as error:
            again = isinstance(error, Unsent) or (method == "GET" and not connection.begun)
            if not (again and connection.reused):
                self._pool.release(connection)
                raise
        except BaseException:
            self._pool.release(connection)
            raise
        connection = await self._pool.replace(connection, deadline_s)
        try:
            await connection.request(head, body or b"", deadline_s)
            return Response(self._pool, connection)
        except BaseException:
            self._pool.release(connection)
            raise

    async def close(self) -> None:
        """Close all connections, those that carry a request included."""
        await self._pool.close()
