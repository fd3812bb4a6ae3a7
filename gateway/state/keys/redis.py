"""Keys in Redis: three hashes that share a slot of a cluster. Connects for each call, which are few."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config.schema import Limits
from gateway.state.keys.base import Snapshot
from gateway.state.keys.key import KeyRecord
from gateway.state.redis_client import client, failures

_KEYS = "forebay:{keys}:records"
_LIMITS = "forebay:{keys}:limits"
_REVOKED = "forebay:{keys}:revoked"


class RedisKeys:
    """Keys that all replicas share."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, record: KeyRecord, limits: Limits | None) -> None:
        with failures("the record of a key", msgspec.DecodeError, ValueError), client(self._url) as redis:
            # Limits first: a key must not be valid without them for a moment.
            if limits is not None:
                redis.hset(_LIMITS, record.tenant, msgspec.json.encode(limits))
            redis.hset(_KEYS, record.id, msgspec.json.encode(record))

    def revoke(self, key_id: str, now: int) -> bool:
        with failures("the record of a key", msgspec.DecodeError, ValueError), client(self._url) as redis:
            if not redis.hexists(_KEYS, key_id):
                return False
            # A field of its own, set once: two revocations at a time cannot undo each other.
            return bool(redis.hsetnx(_REVOKED, key_id, str(now)))

    def snapshot(self) -> Snapshot:
        with failures("the record of a key", msgspec.DecodeError, ValueError), client(self._url) as redis:
            # Revocations last: a key that is gone by then must not come out as valid.
            records: Any = redis.hgetall(_KEYS)
            limits: Any = redis.hgetall(_LIMITS)
            revoked: Any = redis.hgetall(_REVOKED)
        with failures("the record of a key", msgspec.DecodeError, ValueError):
            keys = [msgspec.json.decode(raw, type=KeyRecord) for raw in records.values()]
            when = {key_id.decode(): int(at) for key_id, at in revoked.items()}
            return Snapshot(
                tuple(
                    msgspec.structs.replace(key, revoked=when.get(key.id))
                    for key in sorted(keys, key=lambda key: (key.created, key.id))
                ),
                {name.decode(): msgspec.json.decode(raw, type=Limits) for name, raw in limits.items()},
            )
