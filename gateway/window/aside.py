"""Long computations in a thread, so that other requests' events do not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from gateway.window.base import Rank

T = TypeVar("T")
INLINE_CHARS = 20_000
"""Up to this a computation takes a few milliseconds, and a thread is not worth it."""


async def aside(size: int, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what comes of work on a text of `size` characters. It may wait for nothing of this thread's,
    but for what `from_aside` lets it."""
    if size <= INLINE_CHARS:
        return await work()
    return await asyncio.to_thread(lambda: asyncio.run(work()))


def from_aside(rank: Rank) -> Rank:
    """Return a ranking that can be asked for in either place; it runs in this thread."""
    home = asyncio.get_running_loop()

    async def ranked(question: str, texts: Sequence[str]) -> list[float] | None:
        if asyncio.get_running_loop() is home:
            return await rank(question, texts)
        asked = asyncio.run_coroutine_threadsafe(_coroutine(rank, question, texts), home)
        return await asyncio.wrap_future(asked)

    return ranked


async def _coroutine(rank: Rank, question: str, texts: Sequence[str]) -> list[float] | None:
    return await rank(question, texts)
