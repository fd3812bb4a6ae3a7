"""Fixed-size KV blocks with reference counts, a free list in LRU order, and a name index for sharing.

Every block is in exactly one of two states:

    used   ref_count > 0, held by that many requests
    free   ref_count = 0, in the free list; if it has a name its content may still be revived by a match

A name is in the index only if its block's KV is complete, and leaves it when the block is handed out again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Protocol

from backend_engine.errors import EngineError


class NoFreeBlocks(EngineError):
    """More blocks were asked for than are free."""


class PoolListener(Protocol):
    """Is told which published blocks there are."""

    def stored(self, block: int, name: bytes) -> None:
        """`block` can be found under `name` from now on."""
        ...

    def removed(self, block: int, name: bytes) -> None:
        """`block`, whose KV is still whole, cannot be found under `name` any more."""
        ...


class BlockPool:
    """Hands out block ids 0 to `num_blocks` - 1; the memory itself belongs to the attention backend."""

    def __init__(self, num_blocks: int, block_size: int, listeners: Sequence[PoolListener] = ()) -> None:
        if num_blocks < 1 or block_size < 1:
            raise ValueError(f"need at least one block of one token, not {num_blocks} x {block_size}")
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._listeners = tuple(listeners)
        self._ref_counts = [0] * num_blocks
        self._names: list[bytes | None] = [None] * num_blocks
        self._index: dict[bytes, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_used(self) -> int:
        return self.num_blocks - len(self._free)

    def blocks_for(self, num_tokens: int) -> int:
        """Return how many blocks `num_tokens` tokens need."""
        return -(-num_tokens // self.block_size)

    def match(self, names: Sequence[bytes]) -> list[int]:
        """Return the blocks of the longest run of leading `names` that are present, without holding them."""
        blocks = []
        for name in names:
            block = self._index.get(name)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def num_revived(self, blocks: Sequence[int]) -> int:
        """Return how many of `blocks` are free now, so that holding them would use them up."""
        return sum(1 for block in blocks if not self._ref_counts[block])

    def hold(self, blocks: Sequence[int]) -> None:
        """Add one holder to each of `blocks`, taking those that were free off the free list."""
        for block in blocks:
            if not self._ref_counts[block]:
                del self._free[block]
            self._ref_counts[block] += 1

    def allocate(self, count: int) -> list[int]:
        """Return `count` blocks for writing, least recently used first; their old content is forgotten.

        Raises NoFreeBlocks, and takes none, if fewer are free.
        """
        if count > len(self._free):
            raise NoFreeBlocks(f"{count} KV blocks wanted, {len(self._free)} free")
        blocks = []
        for _ in range(count):
            block, _ = self._free.popitem(last=False)
            self._forget(block)
            self._ref_counts[block] = 1
            blocks.append(block)
        return blocks

    def publish(self, block: int, name: bytes) -> None:
        """Let later requests find `block`, whose KV is complete, under `name`.

        If two requests computed the same block, the first stays the shared one.
        """
        if self._names[block] is None and name not in self._index:
            self._names[block] = name
            self._index[name] = block
            for listener in self._listeners:
                listener.stored(block, name)

    def release(self, blocks: Sequence[int]) -> None:
        """Drop one holder of each of a request's `blocks`, given in order.

        The tail is freed first, so that eviction shortens a cached prefix from its end.
        """
        for block in reversed(blocks):
            self._ref_counts[block] -= 1
            if self._ref_counts[block] < 0:
                raise EngineError(f"KV block {block} was released twice")
            if not self._ref_counts[block]:
                self._free[block] = None
                # A block without a name can never be matched: reuse it before any cached one.
                if self._names[block] is None:
                    self._free.move_to_end(block, last=False)

    def published(self) -> Iterator[tuple[int, bytes]]:
        """Return blocks and names of what can be matched: those in use, then the most recently used first."""
        used = (block for block, count in enumerate(self._ref_counts) if count)
        for block in (*used, *reversed(self._free)):
            name = self._names[block]
            if name is not None:
                yield block, name

    def check(self) -> None:
        """Verify the invariants in this module's docstring; raise EngineError naming what is broken."""
        for block, count in enumerate(self._ref_counts):
            if (count == 0) != (block in self._free):
                raise EngineError(
                    f"KV block {block} has {count} holders but its place in the free list disagrees"
                )
            name = self._names[block]
            if name is not None and self._index.get(name) != block:
                raise EngineError(f"KV block {block} has a name that the index does not know")
        if len(self._index) != sum(name is not None for name in self._names):
            raise EngineError("the KV name index holds names that no block has")

    def _forget(self, block: int) -> None:
        name = self._names[block]
        if name is not None:
            for listener in self._listeners:
                listener.removed(block, name)
            del self._index[name]
            self._names[block] = None
