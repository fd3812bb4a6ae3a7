"""The second tier of the prefix cache: blocks that leave the pool are kept elsewhere and fetched again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from backend_engine.kv.block_bytes import BlockBytes
from backend_engine.kv.disk_tier import DiskTier
from backend_engine.kv.tiers import RamTier, Tier

SAVE_BYTES = 1 << 30
"""What is saved at the end of a run: a few seconds' worth, because a supervisor waits no longer."""


class Offload:
    """Copies named blocks from the pool's pages to memory, from there to disk, and back into fresh pages."""

    def __init__(self, pages: BlockBytes, ram: RamTier | None, disk: DiskTier | None) -> None:
        """`ram` hands on to `disk` what falls out of it; the caller has wired them so."""
        self._pages = pages
        self._ram = ram
        self._disk = disk
        self._tiers: tuple[Tier, ...] = tuple(tier for tier in (ram, disk) if tier is not None)

    def stored(self, block: int, name: bytes) -> None:
        """A block that is in the pool needs no second place."""

    def removed(self, block: int, name: bytes) -> None:
        """Keep the KV of a block that is about to be overwritten."""
        if not any(name in tier for tier in self._tiers):
            self._tiers[0].put(name, self._pages.read(block))

    def fetch(self, names: Sequence[bytes]) -> list[bytes]:
        """Return the KV of the longest run of leading `names` that is here."""
        found = []
        for name in names:
            data = next((data for tier in self._tiers if (data := tier.get(name)) is not None), None)
            if data is None:
                break
            found.append(data)
        # The end of a prefix is worth nothing without its beginning, so it is the first to be forgotten.
        for name in reversed(names[: len(found)]):
            for tier in self._tiers:
                tier.touch(name)
        return found

    def restore(self, block: int, data: bytes) -> None:
        """Write KV that `fetch` returned to a block of the pool."""
        self._pages.write(block, data)

    def close(self, published: Iterable[tuple[int, bytes]]) -> None:
        """Save for the next run: the pool's `published` blocks, newest first, then those in memory."""
        if self._disk is None:
            return
        pooled = ((name, self._pages.read(block)) for block, name in published)
        waiting = self._ram.newest_first() if self._ram is not None else iter(())
        chosen: list[tuple[bytes, bytes]] = []
        left = SAVE_BYTES
        for name, data in chain(pooled, waiting):
            left -= len(data)
            if left < 0:
                break
            chosen.append((name, data))
        for name, data in reversed(chosen):
            self._disk.put_and_wait(name, data)
        self._disk.close()
