"""The events of an answer that is still being prepared: first how far that has come, then the answer's own.

The head of the answer is out from the first comment on, so that neither clients nor proxies take a long job
for a dead connection. Whatever goes wrong afterwards is the stream's last event.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import msgspec

from gateway.answer import Answer, Events, EventStream
from gateway.errors import UpstreamGarbage
from gateway.window.base import Progress
from gateway.wire.sse import comment_event, data_event

HEADERS = {"content-type": "text/event-stream; charset=utf-8"}
Tell: TypeAlias = Callable[[Progress | None], None]
"""Takes note of how far a job has come; None says that it will take a while."""
Work: TypeAlias = Callable[[Tell], Coroutine[Any, Any, Answer]]
_MOST_NOTES = 64
LONG_S = 1.0
"""After so long a job is a long one in any case."""


def nobody_listens(progress: Progress | None) -> None:
    """The answer comes as a whole."""


class Underway:
    """Runs the work in a task of its own, which ends when the stream is closed."""

    def __init__(self, work: Work, why: Callable[[], BaseException]) -> None:
        """`why` says what it means if the answer is left before its end."""
        self._notes: deque[Progress | None] = deque(maxlen=_MOST_NOTES)
        self._woken = asyncio.Event()
        self._long = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(LONG_S, self._note, None)
        self._why = why
        self._answer: Answer | None = None
        self._over = False
        self._task = asyncio.create_task(work(self._note))
        self._task.add_done_callback(self._done)

    async def quick(self) -> Answer | None:
        """Return the answer if it is there before the work says that it takes long; may raise as well."""
        try:
            await self._long.wait()
        except BaseException:
            self.close()
            raise
        finally:
            self._timer.cancel()
        return self._task.result() if self._task.done() else None

    def __aiter__(self) -> Underway:
        return self

    async def __anext__(self) -> Events:
        while self._answer is None:
            await self._woken.wait()
            self._woken.clear()
            if self._notes:
                notes, self._notes = self._notes, deque(maxlen=_MOST_NOTES)
                self._woken.set()
                return [comment_event(_comment(note)) for note in notes]
            if self._task.done():
                self._answer = self._task.result()
        body = self._answer.body
        if isinstance(body, EventStream):
            return await anext(body)
        if self._over:
            raise StopAsyncIteration
        self._over = True
        if self._answer.status < 400:
            raise UpstreamGarbage("The upstream answered a request for a stream without one.")
        # The status can no longer tell, so the stream's last event does.
        return [data_event(msgspec.json.format(body, indent=-1))]

    def close(self) -> None:
        """End the work, or what it has begun."""
        self._task.cancel()
        if self._answer is not None:
            self._answer.close(self._why())

    def _note(self, progress: Progress | None) -> None:
        if progress is None:
            self._long.set()
        self._notes.append(progress)
        self._woken.set()

    def _done(self, task: asyncio.Task[Answer]) -> None:
        self._woken.set()
        self._long.set()
        if not task.cancelled():
            # Whoever waits for it gets it as well; nobody may be waiting any more.
            task.exception()


def _comment(note: Progress | None) -> bytes:
    said = (
        {"strategy": None}
        if note is None
        else {"strategy": note.strategy, "step": note.step, "done": note.done, "of": note.of}
    )
    return b"forebay " + msgspec.json.encode({"fit": said})
