"""Clients for a Redis URL: `?cluster=true` says that it names a node of a cluster, as for the cache."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from gateway.state.location import STALL_S

FAILURES = (RedisError, RedisClusterException, OSError)
"""What a call raises if the server is down, late or out of sorts; a timeout is an OSError."""

_CONNECTIONS = 16
_STALL: dict[str, Any] = {"socket_timeout": STALL_S, "socket_connect_timeout": STALL_S, "protocol": 2}


def async_client(url: str) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """Return a client with a bounded pool. It makes one try: a second would double the wait of an outage."""
    address, cluster = _split(url)
    retry = AsyncRetry(NoBackoff(), 0)
    if cluster:
        return redis.asyncio.RedisCluster.from_url(address, retry=retry, **_STALL)
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        address, max_connections=_CONNECTIONS, timeout=STALL_S, retry=retry, **_STALL
    )
    return redis.asyncio.Redis.from_pool(pool)


def client(url: str) -> redis.Redis | redis.RedisCluster:
    """Return a client that blocks."""
    address, cluster = _split(url)
    options = {"retry": Retry(NoBackoff(), 0), **_STALL}
    if cluster:
        return redis.RedisCluster.from_url(address, **options)
    return redis.Redis.from_url(address, **options)


def _split(url: str) -> tuple[str, bool]:
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    cluster = query.pop("cluster", ["false"])[-1].lower() in ("1", "true", "yes")
    return urlunsplit(parts._replace(query=urlencode(query, doseq=True))), cluster
