"""What is asked of a place where keys are kept. Blocking: commands call it, gateways from a thread."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gateway.config.schema import Limits
from gateway.state.keys.key import KeyRecord


class Snapshot(msgspec.Struct, frozen=True):
    """All that is kept: every key ever made, oldest first, and the limits of tenants."""

    keys: tuple[KeyRecord, ...] = ()
    limits: dict[str, Limits] = msgspec.field(default_factory=dict)


class KeyStore(Protocol):
    """Keys of one gateway, or of all its replicas. Every method raises StateUnavailable."""

    def add(self, record: KeyRecord, limits: Limits | None) -> None:
        """Keep a new key; `limits` other than None become those of its tenant."""

    def revoke(self, key_id: str, now: int) -> bool:
        """Make a key invalid for ever. Returns whether there was a valid one of this id."""

    def snapshot(self) -> Snapshot:
        """Return everything. A store that nobody has written to yet is empty and is not made by this."""
