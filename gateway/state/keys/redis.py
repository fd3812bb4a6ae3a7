"""Keys in Redis: two hashes that share a slot of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
from redis import Redis
from redis.exceptions import RedisError

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.keys.base import Snapshot
from gateway.state.keys.key import KeyRecord
from gateway.state.location import STALL_S

_KEYS = "forebay:{keys}:records"
_LIMITS = "forebay:{keys}:limits"
_REVOKED = "forebay:{keys}:revoked"


class RedisKeys:
    """Keys that all replicas share."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=STALL_S, socket_connect_timeout=STALL_S)

    def add(self, record: KeyRecord, limits: Limits | None) -> None:
        with _failures(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_KEYS, record.id, msgspec.json.encode(record))
            if limits is not None:
                pipe.hset(_LIMITS, record.tenant, msgspec.json.encode(limits))
            pipe.execute()

    def revoke(self, key_id: str, now: int) -> bool:
        with _failures():
            if not self._redis.hexists(_KEYS, key_id):
                return False
            # A field of its own, set once: two revocations at a time cannot undo each other.
            return bool(self._redis.hsetnx(_REVOKED, key_id, str(now)))

    def snapshot(self) -> Snapshot:
        with _failures():
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hgetall(_KEYS)
                pipe.hgetall(_REVOKED)
                pipe.hgetall(_LIMITS)
                records, revoked, limits = pipe.execute()
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
    except (RedisError, OSError) as error:
        raise StateUnavailable(f"Redis: {error}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise StateUnavailable("Redis: the record of a key is damaged") from error
