"""How long an entry lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Lifetime(NamedTuple):
    """Seconds since the epoch."""

    created_at: float
    expires_at: float
    stale_until: float


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The configured times in seconds. Raises ValueError for times that make no sense."""

    ttl_s: float
    stale_s: float = 0.0
    """How long after its expiry an entry may still be served while it is fetched anew."""
    jitter: float = 0.1
    """Up to this share of the time to live is taken off, so that what was stored together expires apart."""

    def __post_init__(self) -> None:
        if not (self.ttl_s > 0 and self.stale_s >= 0 and 0 <= self.jitter < 1):
            raise ValueError("a lifetime is positive and its jitter a share below 1")

    def of(self, digest: bytes, now: float, ttl_s: float | None = None) -> Lifetime:
        """Return the times of an entry stored now; `ttl_s` is the caller's wish, which can only shorten.

        The key's digest decides the jitter: no time to live is ever longer than asked for, and every worker
        comes to the same one.
        """
        ttl = self.ttl_s if ttl_s is None else min(ttl_s, self.ttl_s)
        share = int.from_bytes(digest[:4], "big") / 2**32
        expires = now + ttl * (1 - self.jitter * share)
        return Lifetime(now, expires, expires + self.stale_s)
