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
_SWEEP_S = 30.0
_log = structlog.get_logger("semantic_cache.service")


class Follower:
    """Runs from `start` to `close`."""

    def __init__(self, feed: Feed, shelf: Shelf, encode: Encode) -> None:
        self.caught_up = False
        """Whether everything that the store had at the last look has been seen."""
        self._feed = feed
        self._shelf = shelf
        self._encode = encode
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow."""
        self._tasks = [
            asyncio.create_task(work()) for work in (self._follow, self._embed_missing, self._sweep)
        ]

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
        while True:
            await self._more.wait()
            some = self._shelf.unindexed(AT_ONCE)
            if not some:
                self._more.clear()
                continue
            try:
                encodings = await self._encode([text for _, text in some])
            except EmbedderError as error:
                _log.warning("records_not_embedded", count=len(some), reason=str(error))
                await asyncio.sleep(_LONGEST_PAUSE_S)
                continue
            for (number, _), encoding in zip(some, encodings, strict=True):
                self._shelf.give(number, encoding.vector)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._shelf.sweep()
