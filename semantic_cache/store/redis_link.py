"""Calls of a Redis server or cluster that end soon, one way or the other, behind a circuit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
FAILURES = (RedisError, RedisClusterException, OSError)
"""What a call raises if the server is down, late or out of sorts."""


class RedisLink:
    """A server or cluster. All calls raise StoreUnavailable, and nothing else."""

    def __init__(self, url: str, on_event: OnEvent, timeout_s: float) -> None:
        """Connects with the first call. Raises BadStoreUrl."""
        self._server = server_of(url, timeout_s)
        self._circuit = Circuit("redis", on_event)
        # A server that refuses to write (out of memory, a replica) can still be read.
        self._writes = Circuit("redis writes", on_event)
        # One that refuses to share calls (a user who may not publish) can still keep entries.
        self._calls = Circuit("redis flights", on_event)
        # Changes are in nobody's way: a few at a time, and waiting for their turn is not the server's fault.
        self._turn = asyncio.Semaphore(_CHANGES_AT_ONCE)
        self._closed = False
        self.many_nodes = isinstance(self._server, Cluster)
        """Whether keys of two tenants may lie on two nodes, so that no command may name both."""

    async def read(self, *command: Any) -> Any:
        """Return the reply to a command that changes nothing."""
        self._enter()
        try:
            reply = await self._server.read(*command)
        except FAILURES as error:
            raise self._circuit.failed(error) from error
        self._circuit.worked()
        return reply

    async def write(self, *command: Any) -> Any:
        """Return the reply to a command that changes something."""
        async with self._turn:
            return await self._change(self._writes, lambda: self._server.write(*command))

    async def run(self, script: Script, tag: str, *arguments: Any) -> Any:
        """Return what a script answers for a tenant's tag."""
        keys = script_keys(tag)
        async with self._turn:
            return await self._change(
                self._writes, lambda: _by_name(self._server.write, script, keys, arguments)
            )

    async def ask(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """Return what a script about a call under way answers; requests wait for it, as for reads."""
        return await self._change(self._calls, lambda: _by_name(self._server.read, script, keys, arguments))

    async def names(self, pattern: str) -> AsyncIterator[bytes]:
        """Yield the names of keys by a pattern, some perhaps twice; those there all the while are in it."""
        names = self._server.names(pattern)
        while True:
            self._enter()
            try:
                name = await anext(names, None)
            except FAILURES as error:
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

    async def _change(self, circuit: Circuit, call: Callable[[], Awaitable[Any]]) -> Any:
        circuit.enter()
        self._enter()
        try:
            reply = await call()
        except ResponseError as error:
            self._circuit.worked()
            raise circuit.failed(error) from error
        except FAILURES as error:
            raise self._circuit.failed(error) from error
        self._circuit.worked()
        circuit.worked()
        return reply


async def _by_name(
    send: Callable[..., Awaitable[Any]], script: Script, keys: Sequence[str], arguments: Sequence[Any]
) -> Any:
    try:
        return await send("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await send("EVAL", script.source, len(keys), *keys, *arguments)


class OneServer:
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


class Cluster:
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


def server_of(url: str, timeout_s: float) -> OneServer | Cluster:
    """Return what a URL stands for; `?cluster=true` says that it names a node of a cluster."""
    try:
        url, cluster = split_url(url)
        return Cluster(url, timeout_s) if cluster else OneServer(url, timeout_s)
    except (ValueError, TypeError, *FAILURES) as error:
        raise BadStoreUrl(f"The cache's Redis URL cannot be used ({type(error).__name__}).") from None


def split_url(url: str) -> tuple[str, bool]:
    """Return a URL without the option that is ours, and whether it names a node of a cluster."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    cluster = query.pop("cluster", ["false"])[-1].lower() in ("1", "true", "yes")
    return urlunsplit(parts._replace(query=urlencode(query, doseq=True))), cluster
