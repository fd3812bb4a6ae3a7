"""Calls of a Redis server or cluster that end soon, one way or the other, behind a circuit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from redis.asyncio import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from semantic_cache.errors import BadStoreUrl, StoreUnavailable
from semantic_cache.store.base import OnEvent
from semantic_cache.store.circuit import Circuit
from semantic_cache.store.redis_address import RedisAddress
from semantic_cache.store.redis_pipe import RedisPipe
from semantic_cache.store.redis_scripts import Script, script_keys

TIMEOUT_S = 0.25
"""A call that takes longer has failed: the upstream is asked instead."""
_SCAN_COUNT = 500
_CHANGES_AT_ONCE = 8
# The circuit decides when to try again, not the client behind its back. The protocol's second version needs
# no greeting, and a driver_info would send another.
_OPTIONS: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2, "driver_info": None}
# TimeoutError is an OSError; RedisClusterException is no RedisError.
_FAILURES = (RedisError, RedisClusterException, OSError)


class RedisLink:
    """A server or cluster. All calls raise StoreUnavailable, and nothing else."""

    def __init__(self, url: str, on_event: OnEvent, timeout_s: float) -> None:
        """Connects with the first call. Raises BadStoreUrl."""
        self._server = _server(url, timeout_s)
        self._circuit = Circuit("redis", on_event)
        # A server that refuses to write (out of memory, a replica) can still be read.
        self._writes = Circuit("redis writes", on_event)
        # Changes are in nobody's way: a few at a time, and waiting for their turn is not the server's fault.
        self._turn = asyncio.Semaphore(_CHANGES_AT_ONCE)
        self._closed = False
        self.many_nodes = isinstance(self._server, _Cluster)
        """Whether keys of two tenants may lie on two nodes, so that no command may name both."""

    async def read(self, *command: Any) -> Any:
        """Return the reply to a command that changes nothing."""
        self._enter()
        try:
            reply = await self._server.read(*command)
        except _FAILURES as error:
            raise self._circuit.failed(error) from error
        self._circuit.worked()
        return reply

    async def write(self, *command: Any) -> Any:
        """Return the reply to a command that changes something."""
        return await self._change(lambda: self._server.write(*command))

    async def run(self, script: Script, tag: str, *arguments: Any) -> Any:
        """Return what a script answers for a tenant's tag."""
        keys = script_keys(tag)

        async def by_name() -> Any:
            try:
                return await self._server.write("EVALSHA", script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await self._server.write("EVAL", script.source, len(keys), *keys, *arguments)

        return await self._change(by_name)

    async def names(self, pattern: str) -> AsyncIterator[bytes]:
        """Yield the names of keys by a pattern, some perhaps twice; those there all the while are in it."""
        names = self._server.names(pattern)
        while True:
            self._enter()
            try:
                name = await anext(names, None)
            except _FAILURES as error:
                raise self._circuit.failed(error) from error
            self._circuit.worked()
            if name is None:
                return
            yield name

    async def close(self) -> None:
        """Close all connections; calls that run are told so."""
        self._closed = True
        await self._server.close()

    def _enter(self) -> None:
        if self._closed:
            raise StoreUnavailable("The cache's store is closed.")
        self._circuit.enter()

    async def _change(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async with self._turn:
            self._writes.enter()
            self._enter()
            try:
                reply = await call()
            except ResponseError as error:
                self._circuit.worked()
                raise self._writes.failed(error) from error
            except _FAILURES as error:
                raise self._circuit.failed(error) from error
            self._circuit.worked()
            self._writes.worked()
            return reply


class _OneServer:
    """Two connections, so that no read waits behind what is written."""

    def __init__(self, url: str, timeout_s: float) -> None:
        address = RedisAddress.of(url)
        self._reads = RedisPipe(address, timeout_s)
        self._writes = RedisPipe(address, timeout_s)

    def read(self, *command: Any) -> Awaitable[Any]:
        return self._reads.ask(*command)

    def write(self, *command: Any) -> Awaitable[Any]:
        return self._writes.ask(*command)

    async def names(self, pattern: str) -> AsyncIterator[bytes]:
        cursor = b"0"
        while True:
            cursor, names = await self._reads.ask("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
            for name in names:
                yield name
            if cursor == b"0":
                return

    async def close(self) -> None:
        await self._reads.close()
        await self._writes.close()


class _Cluster:
    """The library's own client, which follows slots from node to node."""

    def __init__(self, url: str, timeout_s: float) -> None:
        # Both bounds: a deadline that expires while the library waits for a lock may be lost in there.
        options = {**_OPTIONS, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        self._client = RedisCluster.from_url(url, **options)
        self._timeout_s = timeout_s

    async def read(self, *command: Any) -> Any:
        async with asyncio.timeout(self._timeout_s):
            return await self._client.execute_command(*command)

    write = read

    async def names(self, pattern: str) -> AsyncIterator[bytes]:
        async for name in self._client.scan_iter(match=pattern, count=_SCAN_COUNT):
            yield name

    async def close(self) -> None:
        await self._client.aclose()


def _server(url: str, timeout_s: float) -> _OneServer | _Cluster:
    """Return what a URL stands for; `?cluster=true` says that it names a node of a cluster."""
    parts = urlsplit(url)
    try:
        query = parse_qs(parts.query, keep_blank_values=True)
        cluster = query.pop("cluster", ["false"])[-1].lower() in ("1", "true", "yes")
        url = urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
        return _Cluster(url, timeout_s) if cluster else _OneServer(url, timeout_s)
    except (ValueError, TypeError, *_FAILURES) as error:
        raise BadStoreUrl(f"The cache's Redis URL cannot be used ({type(error).__name__}).") from None
