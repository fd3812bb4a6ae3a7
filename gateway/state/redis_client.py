"""Clients for a Redis URL: `?cluster=true` says that it names a node of a cluster, as for the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.errors import StateUnavailable
from gateway.state.location import STALL_S
from semantic_cache.store.redis_link import FAILURES, split_url

_CONNECTIONS = 16
_STALL: dict[str, Any] = {"socket_timeout": STALL_S, "socket_connect_timeout": STALL_S, "protocol": 2}


def async_client(url: str) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """Return a client with a bounded pool. It makes one try: a second would double the wait of an outage."""
    address, cluster = split_url(url)
    retry = AsyncRetry(NoBackoff(), 0)
    if cluster:
        return redis.asyncio.RedisCluster.from_url(address, retry=retry, **_STALL)
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        address, max_connections=_CONNECTIONS, timeout=STALL_S, retry=retry, **_STALL
    )
    return redis.asyncio.Redis.from_pool(pool)


def client(url: str) -> redis.Redis | redis.RedisCluster:
    """Return a client that blocks."""
    address, cluster = split_url(url)
    options = {"retry": Retry(NoBackoff(), 0), **_STALL}
    if cluster:
        return redis.RedisCluster.from_url(address, **options)
    return redis.Redis.from_url(address, **options)


@contextmanager
def failures(damaged: str, *by: type[Exception]) -> Iterator[None]:
    """Make StateUnavailable of what a client raises, and of what reading raises (`by`) where a value is
    `damaged`."""
    try:
        yield
    except FAILURES as error:
        raise StateUnavailable(f"Redis: {error}") from error
    except by as error:
        raise StateUnavailable(f"Redis: {damaged} is damaged") from error
