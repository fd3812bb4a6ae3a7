"""Long work does not hold up the event loop, and can still ask for a ranking there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from gateway.window.aside import INLINE_CHARS, Aside, aside
from gateway.window.base import Rank


@pytest.mark.parametrize("size", [INLINE_CHARS, INLINE_CHARS + 1])
async def test_long_work_is_done_elsewhere_and_ranks_here(size: int) -> None:
    here, threads = threading.get_ident(), list[int]()

    async def rank(question: str, texts: Sequence[str]) -> list[float] | None:
        threads.append(threading.get_ident())
        return [float(len(text)) for text in texts]

    apart = Aside()
    ranked = apart.asking(rank)

    async def work() -> list[float] | None:
        threads.append(threading.get_ident())
        return await ranked("?", ["a", "bc"])

    assert await apart.run(size, work) == [1.0, 2.0]
    assert (threads[0] == here) == (size <= INLINE_CHARS) and threads[1] == here


async def test_what_it_raises_is_raised_here() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await aside(INLINE_CHARS + 1, work)


async def test_what_it_asked_ends_with_whoever_waits_for_it() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def rank(question: str, texts: Sequence[str]) -> list[float] | None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return None

    apart = Aside()
    ranked = apart.asking(rank)
    running = asyncio.create_task(apart.run(INLINE_CHARS + 1, lambda: _asks(ranked)))
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await ended.wait()


async def _asks(ranked: Rank) -> list[float] | None:
    return await ranked("?", ["a"])
