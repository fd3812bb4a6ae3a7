"""Calls of a Redis server that end soon, one way or the other.

Every call has one deadline for all of it: a free connection, connecting, sending, the answer. A call that is
cancelled or runs late gives up its connection, so that nobody else reads its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from semantic_cache.errors import BadStoreUrl, StoreUnavailable
from semantic_cache.store.base import OnEvent
from semantic_cache.store.circuit import Circuit
from semantic_cache.store.redis_scripts import Script, index_keys

TIMEOUT_S = 0.25
"""A call that takes longer has failed: the upstream is asked instead."""
_CONNECTIONS = 32
_SCAN_COUNT = 500
_CHANGES_AT_ONCE = 8
# TimeoutError is an OSError; RedisClusterException is no RedisError.
_FAILURES = (RedisError, RedisClusterException, OSError)


class RedisLink:
    """A server or cluster behind a circuit. All calls raise StoreUnavailable, and nothing else."""

    def __init__(self, url: str, on_event: OnEvent, timeout_s: float) -> None:
        """Connects with the first call. Raises BadStoreUrl."""
        self._client = _client(url)
        self._timeout_s = timeout_s
        self._circuit = Circuit("redis", on_event)
        # A server that refuses to write (out of memory, a replica) can still be read.
        self._writes = Circuit("redis writes", on_event)
        # Changes are in nobody's way: a few at a time, and waiting for their turn is not the server's fault.
        self._turn = asyncio.Semaphore(_CHANGES_AT_ONCE)
        self._running = 0
        self._idle = asyncio.Event()
        self._closed = False

    async def get(self, name: str) -> bytes | None:
        """Return the value of a key."""
        value = await self._ask(lambda: self._client.get(name))
        assert value is None or isinstance(value, bytes)
        return value

    async def read(self, command: str, *arguments: Any) -> Any:
        """Return what a command answers that changes nothing."""
        return await self._ask(lambda: self._client.execute_command(command, *arguments))

    async def write(self, command: str, *arguments: Any) -> Any:
        """Return what a command answers that changes something."""
        return await self._change(lambda: self._client.execute_command(command, *arguments))

    async def run(self, script: Script, tag: str, *arguments: Any) -> Any:
        """Return what a script answers for a tenant's tag."""
        keys = index_keys(tag)

        async def by_name() -> Any:
            try:
                return await self._client.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await self._client.eval(script.source, len(keys), *keys, *arguments)

        return await self._change(by_name)

    async def names(self, pattern: str) -> AsyncIterator[bytes]:
        """Yield the names of keys by a pattern, some perhaps twice; those there all the while are in it."""
        names = aiter(self._client.scan_iter(match=pattern, count=_SCAN_COUNT))
        while (name := await self._ask(lambda: anext(names, None))) is not None:
            yield name

    async def close(self) -> None:
        """Let what runs come to its end, which its deadline bounds, and close all connections."""
        self._closed = True
        while self._running:
            self._idle.clear()
            await self._idle.wait()
        await self._client.aclose()

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self._circuit.enter()
        try:
            answer = await self._in_time(call)
        except _FAILURES as error:
            raise self._circuit.failed(error) from error
        self._circuit.worked()
        return answer

    async def _change(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async with self._turn:
            self._writes.enter()
            self._circuit.enter()
            try:
                answer = await self._in_time(call)
            except ResponseError as error:
                self._circuit.worked()
                raise self._writes.failed(error) from error
            except _FAILURES as error:
                raise self._circuit.failed(error) from error
            self._circuit.worked()
            self._writes.worked()
            return answer

    async def _in_time(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if self._closed:
            raise StoreUnavailable("The cache's store is closed.")
        self._running += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call()
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()


def _client(url: str) -> Any:
    """Return the client for a URL; `?cluster=true` says that it names a node of a cluster."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    cluster = query.pop("cluster", ["false"])[-1].lower() in ("1", "true", "yes")
    url = urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
    # The circuit decides when to try again, not the client behind its back. The protocol's second version
    # needs no greeting, and a driver_info would send another.
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2, "driver_info": None}
    try:
        if cluster:
            return RedisCluster.from_url(url, **options)
        pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=None, **options)
        return Redis.from_pool(pool)
    except (ValueError, TypeError, RedisClusterException) as error:
        raise BadStoreUrl(f"The cache's Redis URL cannot be used ({type(error).__name__}).") from None
