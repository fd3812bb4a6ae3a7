"""Where blocks that fell out of the pool can wait: the interface, and memory as the first of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol


class Tier(Protocol):
    """Bounded storage of blocks by name, which forgets the least recently used. A miss is always allowed."""

    def __contains__(self, name: bytes) -> bool:
        """Whether `get` is likely to return the block."""
        ...

    def get(self, name: bytes) -> bytes | None:
        """Return the block's KV, None if it is not here or not whole."""
        ...

    def put(self, name: bytes, data: bytes) -> None:
        """Keep a block's KV, as far as there is room."""
        ...

    def touch(self, name: bytes) -> None:
        """Make the block, if it is here, the most recently used."""
        ...


class RamTier:
    """Blocks in memory; what falls out goes to `on_evict`."""

    def __init__(self, max_bytes: int, on_evict: Callable[[bytes, bytes], None] | None = None) -> None:
        self._max_bytes = max_bytes
        self._on_evict = on_evict
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def __contains__(self, name: bytes) -> bool:
        return name in self._blocks

    def get(self, name: bytes) -> bytes | None:
        return self._blocks.get(name)

    def put(self, name: bytes, data: bytes) -> None:
        if name in self._blocks:
            return
        self._blocks[name] = data
        self._bytes += len(data)
        while self._bytes > self._max_bytes:
            name, data = self._blocks.popitem(last=False)
            self._bytes -= len(data)
            if self._on_evict is not None:
                self._on_evict(name, data)

    def touch(self, name: bytes) -> None:
        if name in self._blocks:
            self._blocks.move_to_end(name)

    def newest_first(self) -> Iterator[tuple[bytes, bytes]]:
        """Return names and KV of all blocks, the most recently used first."""
        return reversed(self._blocks.items())
