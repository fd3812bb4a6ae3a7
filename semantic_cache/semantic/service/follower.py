"""Keeps the shelf as the store is: reads its feed, and has vectors made for records that came without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from semantic_cache.embed.base import Encoding
from semantic_cache.embed.errors import EmbedderError
from semantic_cache.errors import StoreUnavailable
from semantic_cache.semantic.service.shelf import Shelf
from semantic_cache.store.feed import Batch, Feed

Encode: TypeAlias = Callable[[Sequence[str]], Awaitable[list[Encoding]]]
AT_ONCE = 8
"""Records embedded in one go: requests that come meanwhile wait for that long."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LONGEST_WAIT_S = 60.0
"""Between two tries with records that the embedder does not take."""
_SWEEP_S = 30.0
_log = structlog.get_logger("semantic_cache.service")


class Follower:
    """Runs from `start` to `close`."""

    def __init__(self, feed: Feed, shelf: Shelf, encode: Encode, broken: Callable[[], None]) -> None:
        """`broken` is called, once it is in the log, when something happens that nobody foresaw."""
        self.caught_up = False
        """Whether everything that the store had at the last look has been seen."""
        self._feed = feed
        self._shelf = shelf
        self._encode = encode
        self._broken = broken
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow."""
        self._tasks = [
            asyncio.create_task(work()) for work in (self._follow, self._embed_missing, self._sweep)
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("follower_broken", exc_info=error)
            self._broken()

    def hurry(self) -> None:
        """Look at the store now."""
        self._feed.hurry()

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._feed.close()

    async def _follow(self) -> None:
        pause, logged = _FIRST_PAUSE_S, False
        while True:
            try:
                batch = await self._feed.next()
            except StoreUnavailable as error:
                if not logged:
                    _log.warning("feed_unavailable", reason=str(error))
                logged = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            if logged:
                _log.warning("feed_recovered")
            pause, logged = _FIRST_PAUSE_S, False
            self._apply(batch)
            # A long way to catch up must not keep requests waiting.
            await asyncio.sleep(0)

    def _apply(self, batch: Batch) -> None:
        if batch.anew:
            self._shelf.clear()
        if batch.epochs:
            self._shelf.bury(batch.epochs)
        for stored in batch.stored:
            self._shelf.put(stored)
        for key in batch.gone:
            self._shelf.drop(key)
        self.caught_up = batch.caught_up
        if self._shelf.waiting:
            self._more.set()

    async def _embed_missing(self) -> None:
        pause = _LONGEST_PAUSE_S
        while True:
            await self._more.wait()
            some = self._shelf.unindexed(AT_ONCE)
            if not some:
                self._more.clear()
                continue
            # Each by itself, whatever it raises: a text that the embedder rejects must not stand in the way.
            made = await asyncio.gather(*(self._encode([text]) for _, text in some), return_exceptions=True)
            failures = []
            for (number, _), one in zip(some, made, strict=True):
                if isinstance(one, BaseException):
                    failures.append(one)
                    self._shelf.postpone(number)
                else:
                    self._shelf.give(number, one[0].vector)
            if len(failures) < len(some):
                pause = _LONGEST_PAUSE_S
                continue
            if pause == _LONGEST_PAUSE_S:
                _log.warning("records_not_embedded", count=len(failures), reason=_reason(failures[0]))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._shelf.sweep()


def _reason(error: BaseException) -> str:
    # The text of an error that nobody foresaw may quote the question.
    return str(error) if isinstance(error, EmbedderError) else type(error).__name__
