"""Long computations in a thread, so that other requests' events do not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
INLINE_CHARS = 20_000
"""Up to this a computation takes a few milliseconds, and a thread is not worth it."""


async def aside(size: int, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what comes of work on a text of `size` characters; it waits for nothing of this thread's."""
    return await Aside().run(size, work)


class Aside:
    """Work that may ask something of this thread."""

    def __init__(self) -> None:
        self._home = asyncio.get_running_loop()
        self._asked: set[Future[Any]] = set()
        self._left = False

    def asking(
        self, ask: Callable[[str, Sequence[S]], Awaitable[T]]
    ) -> Callable[[str, Sequence[S]], Awaitable[T]]:
        """Return what can be asked in either place; it runs in this thread."""

        async def asked(question: str, things: Sequence[S]) -> T:
            if asyncio.get_running_loop() is self._home:
                return await ask(question, things)
            future = asyncio.run_coroutine_threadsafe(_coroutine(ask, question, things), self._home)
            self._asked.add(future)
            # Only now, or it might be left in between.
            if self._left:
                future.cancel()
            return await asyncio.wrap_future(future)

        return asked

    async def run(self, size: int, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what comes of work on a text of `size` characters. If its caller is cancelled, what it asked
        is too; the thread ends when it asks again, or is done."""
        if size <= INLINE_CHARS:
            return await work()
        try:
            return await asyncio.to_thread(lambda: asyncio.run(work()))
        except BaseException:
            self._left = True
            for future in list(self._asked):
                future.cancel()
            raise


async def _coroutine(
    ask: Callable[[str, Sequence[S]], Awaitable[T]], question: str, things: Sequence[S]
) -> T:
    return await ask(question, things)
