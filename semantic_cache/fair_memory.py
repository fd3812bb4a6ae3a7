"""A bounded memory that tenants share fairly: whoever remembers most makes room, with his oldest.

So however much one of them asks, the others find again what they may still need.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FairMemory(Generic[K, V]):
    """Values by keys that are never used twice, each of a tenant."""

    def __init__(self, capacity: int) -> None:
        """`capacity` values are remembered, of all tenants together."""
        self._capacity = capacity
        self._owners: dict[K, str] = {}
        self._held: dict[str, OrderedDict[K, V]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def count(self, tenant: str) -> int:
        """Return how many values of a tenant there are."""
        return len(self._held.get(tenant, ()))

    def put(self, tenant: str, key: K, value: V) -> None:
        """Remember a value."""
        held = self._held.setdefault(tenant, OrderedDict())
        held[key] = value
        self._owners[key] = tenant
        if len(self._owners) > self._capacity:
            if len(held) * len(self._held) <= self._capacity or len(held) == 1:
                # It has no more than its share, so somebody else has; or more tenants than places have one
                # each, and who came first makes room.
                held = max(self._held.values(), key=len)
            self.pop(next(iter(held)))

    def get(self, key: K) -> V | None:
        """Return a value that is still remembered."""
        owner = self._owners.get(key)
        return None if owner is None else self._held[owner][key]

    def pop(self, key: K) -> V | None:
        """Return a value that is still remembered, and forget it."""
        owner = self._owners.pop(key, None)
        if owner is None:
            return None
        held = self._held[owner]
        value = held.pop(key)
        if not held:
            del self._held[owner]
        return value
