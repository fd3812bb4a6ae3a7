"""Keys in Redis: three hashes that share a slot of a cluster. Connects for each call, which are few."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.keys.base import Snapshot
from gateway.state.keys.key import KeyRecord
from gateway.state.redis_client import client
from semantic_cache.store.redis_link import FAILURES

_KEYS = "forebay:{keys}:records"
_LIMITS = "forebay:{keys}:limits"
_REVOKED = "forebay:{keys}:revoked"


class RedisKeys:
    """Keys that all replicas share."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, record: KeyRecord, limits: Limits | None) -> None:
        with _failures(), client(self._url) as redis:
            # Limits first: a key must not be valid without them for a moment.
            if limits is not None:
                redis.hset(_LIMITS, record.tenant, msgspec.json.encode(limits))
            redis.hset(_KEYS, record.id, msgspec.json.encode(record))

    def revoke(self, key_id: str, now: int) -> bool:
        with _failures(), client(self._url) as redis:
            if not redis.hexists(_KEYS, key_id):
                return False
            # A field of its own, set once: two revocations at a time cannot undo each other.
            return bool(redis.hsetnx(_REVOKED, key_id, str(now)))

    def snapshot(self) -> Snapshot:
        with _failures(), client(self._url) as redis:
            # Revocations last: a key that is gone by then must not come out as valid.
            records: Any = redis.hgetall(_KEYS)
            limits: Any = redis.hgetall(_LIMITS)
            revoked: Any = redis.hgetall(_REVOKED)
        with _failures():
            keys = [msgspec.json.decode(raw, type=KeyRecord) for raw in records.values()]
            when = {key_id.decode(): int(at) for key_id, at in revoked.items()}
            return Snapshot(
                tuple(
                    msgspec.structs.replace(key, revoked=when.get(key.id))
                    for key in sorted(keys, key=lambda key: (key.created, key.id))
                ),
                {name.decode(): msgspec.json.decode(raw, type=Limits) for name, raw in limits.items()},
            )


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise StateUnavailable(f"Redis: {error}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise StateUnavailable("Redis: the record of a key is damaged") from error
