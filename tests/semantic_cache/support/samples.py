"""Keys and entries for tests."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from semantic_cache.entry import Entry
from semantic_cache.scope import ExactKey

ANSWER = b'{"object":"chat.completion","choices":[]}'


class Clock:
    """Wall time that moves when told to, in seconds."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def key(name: str, tenant: str = "acme") -> ExactKey:
    return ExactKey(tenant, sha256(f"{tenant}\0{name}".encode()).digest())


def entry(now: float, *, ttl: float = 600, stale: float = 0, answer: bytes = ANSWER, **fields: Any) -> Entry:
    return Entry(
        endpoint="chat",
        model="large",
        answer=answer,
        has_usage=True,
        created_at=now,
        expires_at=now + ttl,
        stale_until=now + ttl + stale,
        **fields,
    )
