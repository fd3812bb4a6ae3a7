"""What was decided for a text stays decided, although an embedder may be late once and a fit may move.

Otherwise a conversation's next turn could come out otherwise in its older part, and lose the upstream's
cache.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Generic, TypeVar

import msgspec

S = TypeVar("S")
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


def remembering(
    ask: Callable[[str, Sequence[S]], Awaitable[T | None]], found: Remembered[T | None], tenant: str
) -> Callable[[str, Sequence[S]], Awaitable[T | None]]:
    """Return a ranking, or a reading, that says the same twice, also where there was nobody to say anything.

    ask: takes a question and the texts or passages that are compared with it.
    """

    async def asked(question: str, texts: Sequence[S]) -> T | None:
        key = digest(tenant, question, texts)
        if key not in found:
            found.put(key, await ask(question, texts))
        return found.once(key, lambda: None)

    return asked
