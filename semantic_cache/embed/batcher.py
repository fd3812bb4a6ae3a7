"""Puts callers' texts together: one worker thread embeds, and what came meanwhile is its next batch.

A text never waits for company: with the worker idle it goes alone and at once. Under load a batch is all that
waits, in its order, up to a bound of tokens, so that a short text never waits behind a huge batch. What
nobody waits for goes by itself and when nothing else is there: it keeps others waiting for one text at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from semantic_cache.embed.base import Embedder, Encoding
from semantic_cache.embed.errors import EmbeddingFailed

_CHARS_PER_TOKEN = 4
_SPECIAL_TOKENS = 2
_WINDOW = 256
"""A text is cut near here, so a longer one takes no longer."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    answer: asyncio.Future[Encoding]

    @property
    def tokens(self) -> int:
        return min(len(self.text) // _CHARS_PER_TOKEN + _SPECIAL_TOKENS, _WINDOW)


class Batcher:
    """Embeds for the callers of one event loop."""

    def __init__(self, embedder: Embedder, *, batch_tokens: int = 96) -> None:
        """`batch_tokens` bounds a batch by estimated tokens; a text longer than that goes alone.

        The default suits the native kernels, whose time per token is nearly that of a single text: there,
        larger batches would save next to nothing, and everybody in one waits for its end.
        """
        self._embedder = embedder
        self._batch_tokens = batch_tokens
        self._waiting: deque[_Waiting] = deque()
        self._later: deque[_Waiting] = deque()
        self._worker = ThreadPoolExecutor(1, "embed")
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def encode(self, text: str) -> Encoding:
        """Return the encoding of `text`. Raises EmbedderError; may be cancelled at any time."""
        return await self._answer(text, self._waiting)

    async def encode_later(self, text: str) -> Encoding:
        """Return the same, after everything that `encode` was asked for meanwhile."""
        return await self._answer(text, self._later)

    async def _answer(self, text: str, queue: deque[_Waiting]) -> Encoding:
        if self._closed:
            raise EmbeddingFailed("The embedder is closed.")
        waiting = _Waiting(text, asyncio.get_running_loop().create_future())
        queue.append(waiting)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await waiting.answer

    async def close(self) -> None:
        """Refuse what waits, and wait for the batch that is being computed."""
        self._closed = True
        for queue in (self._waiting, self._later):
            while queue:
                _fail(queue.popleft(), EmbeddingFailed("The embedder was closed."))
        if self._running is not None:
            await self._running
        self._worker.shutdown()

    async def _run(self) -> None:
        try:
            while batch := self._take():
                await self._encode(batch)
        finally:
            self._running = None

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        tokens = 0
        while self._waiting:
            # Whoever left is not worth computing.
            if self._waiting[0].answer.done():
                self._waiting.popleft()
                continue
            tokens += self._waiting[0].tokens
            if batch and tokens > self._batch_tokens:
                break
            batch.append(self._waiting.popleft())
        while not batch and self._later:
            waiting = self._later.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    async def _encode(self, batch: Sequence[_Waiting]) -> None:
        texts = [waiting.text for waiting in batch]
        try:
            encodings = await asyncio.get_running_loop().run_in_executor(
                self._worker, self._embedder.encode, texts
            )
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            # One text that cannot be embedded must not cost its neighbours their answers.
            for waiting in batch:
                if not waiting.answer.done():
                    await self._encode([waiting])
            return
        for waiting, encoding in zip(batch, encodings, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(encoding)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
