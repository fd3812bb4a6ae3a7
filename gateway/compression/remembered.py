"""What was decided for a text stays decided, although an embedder may be late once and a fit may move.

Otherwise a conversation's next turn could come out otherwise in its older part, and lose the upstream's
cache.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Generic, TypeVar

import msgspec

from gateway.compression.select import Rank

T = TypeVar("T")
CAPACITY = 4096
_FRAME = msgspec.msgpack.Encoder().encode


def digest(*parts: object) -> bytes:
    """Return a digest over parts of which none runs into the next."""
    return sha256(_FRAME(parts)).digest()


class Remembered(Generic[T]):
    """The latest decisions of one kind."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._found: OrderedDict[bytes, T] = OrderedDict()

    def once(self, key: bytes, decide: Callable[[], T]) -> T:
        """Return what was decided for this key, deciding now if nothing was."""
        if key not in self._found:
            self.put(key, decide())
        self._found.move_to_end(key)
        return self._found[key]

    def put(self, key: bytes, value: T) -> None:
        """Remember a decision; the one that was not needed for longest makes room."""
        self._found[key] = value
        if len(self._found) > self._capacity:
            self._found.popitem(last=False)

    def __contains__(self, key: bytes) -> bool:
        return key in self._found


def remembering(rank: Rank, found: Remembered[list[float] | None], tenant: str) -> Rank:
    """Return a ranking that says the same twice, also where there was nobody to say anything."""

    async def ranked(question: str, texts: Sequence[str]) -> list[float] | None:
        key = digest(tenant, question, texts)
        if key not in found:
            found.put(key, await rank(question, texts))
        return found.once(key, lambda: None)

    return ranked
