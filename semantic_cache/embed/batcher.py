"""Puts callers' texts together: one worker thread embeds, and what came meanwhile is its next batch.

A text never waits for company: with the worker idle it goes alone and at once. Under load a batch is all
that waits, in its order, up to a bound of tokens, so that a short text never waits behind a huge batch.
What nobody waits for goes by itself and when nothing else is there; while questions keep coming it takes a
fifth of the time at most, so that most of them never find the worker at it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from semantic_cache.embed.base import Embedder, Encoding
from semantic_cache.embed.errors import EmbeddingFailed

_CHARS_PER_TOKEN = 4
_SPECIAL_TOKENS = 2
_LATER_PAUSE = 4.0
"""For as many times as long as such a text took none follows, while others come."""
_QUIET_S = 0.05
"""After so long without a text that somebody waits for, the rest need not hold back."""
_WINDOW = 256
"""A text is cut near here, so a longer one takes no longer."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    answer: asyncio.Future[Encoding]
    patient: bool = False
    """Nobody waits for it."""

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
        self._alone: deque[_Waiting] = deque()
        """Texts of a batch that failed: each is tried by itself, before all others."""
        self._last_asked = float("-inf")
        self._later_from = float("-inf")
        """When the next text that nobody waits for may go, while others come."""
        self._pause: asyncio.TimerHandle | None = None
        self._worker = ThreadPoolExecutor(1, "embed")
        self._running = False
        self._closed = False

    async def encode(self, text: str) -> Encoding:
        """Return the encoding of `text`. Raises EmbedderError; may be cancelled at any time."""
        self._last_asked = time.monotonic()
        return await self._answer(text, self._waiting)

    async def encode_later(self, text: str) -> Encoding:
        """Return the same, after everything that `encode` was asked for meanwhile."""
        return await self._answer(text, self._later)

    def _answer(self, text: str, queue: deque[_Waiting]) -> asyncio.Future[Encoding]:
        if self._closed:
            raise EmbeddingFailed("The embedder is closed.")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(text, loop.create_future(), queue is self._later)
        queue.append(waiting)
        if not self._running:
            self._start(loop)
        return waiting.answer

    async def close(self) -> None:
        """Refuse what waits, and wait for the batch that is being computed."""
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        for queue in (self._alone, self._waiting, self._later):
            while queue:
                _fail(queue.popleft(), EmbeddingFailed("The embedder was closed."))
        # What it computes is handed over before it ends.
        await asyncio.to_thread(self._worker.shutdown)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        batch = self._take(self._alone, 1) or self._take(self._waiting, self._batch_tokens)
        if not batch and self._later:
            now = time.monotonic()
            wait_s = min(self._later_from, self._last_asked + _QUIET_S) - now
            if wait_s > 0:
                self._pause = loop.call_later(wait_s, self._start_again, loop)
                return
            batch = self._take(self._later, 1)
        if batch:
            self._running = True
            self._worker.submit(self._work, loop, batch, time.monotonic())

    def _start_again(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._running:
            self._start(loop)

    @staticmethod
    def _take(queue: deque[_Waiting], most: int) -> list[_Waiting]:
        """Take the first text, and as many more as come to `most` tokens with it."""
        batch: list[_Waiting] = []
        tokens = 0
        while queue:
            # Whoever left is not worth computing.
            if queue[0].answer.done():
                queue.popleft()
                continue
            tokens += queue[0].tokens
            if batch and tokens > most:
                break
            batch.append(queue.popleft())
        return batch

    def _work(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting], began: float) -> None:
        """Encode a batch: on the thread."""
        made: Sequence[Encoding] | Exception
        try:
            made = self._embedder.encode([waiting.text for waiting in batch])
        except Exception as error:
            made = error
        loop.call_soon_threadsafe(self._done, loop, batch, made, time.monotonic() - began)

    def _done(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Waiting],
        made: Sequence[Encoding] | Exception,
        took_s: float,
    ) -> None:
        self._running = False
        if batch[0].patient:
            self._later_from = time.monotonic() + _LATER_PAUSE * took_s
        if not isinstance(made, Exception):
            for waiting, encoding in zip(batch, made, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(encoding)
        elif len(batch) == 1 or self._closed:
            for waiting in batch:
                _fail(waiting, made)
        else:
            # One text that cannot be embedded must not cost its neighbours their answers.
            self._alone.extend(batch)
        if not self._closed:
            self._start(loop)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
