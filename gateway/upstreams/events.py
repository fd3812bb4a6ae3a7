"""The server-sent events of an upstream's answer."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.answer import Events
from gateway.errors import UpstreamError, UpstreamGarbage
from gateway.upstreams.content import Content
from gateway.wire.sse import UNFINISHED, Event, EventTooLarge, SseParser
from gateway.wire.usage import DONE

MAX_EVENT_BYTES = 4 * 1024 * 1024
# After `[DONE]` the answer is complete; this is for the end of the message, to keep the connection.
_AFTER_DONE_S = 1.0


class EventSource:
    """The events of an answer as they come in, to its end or to `[DONE]`, whichever is first."""

    __slots__ = ("_content", "_done", "_failure", "_name", "_over", "_parser")

    def __init__(self, content: Content, name: str) -> None:
        self._content = content
        self._name = name
        self._parser = SseParser(MAX_EVENT_BYTES)
        self._failure: UpstreamError | None = None
        self._done = False
        self._over = False

    def __aiter__(self) -> EventSource:
        return self

    async def __anext__(self) -> Events:
        while not self._over:
            if self._failure is not None:
                raise self._failure
            if self._done:
                self._over = True
                await self._end_of_message()
                break
            if not (chunk := await self._content.read()):
                self._over = True
                if rest := self._parser.rest():
                    # No client will dispatch it, but the upstream's bytes are the client's bytes.
                    return [Event(rest, type=UNFINISHED)]
                break
            events = self._feed(chunk)
            if DONE in (said := [event.data for event in events]):
                self._done, self._failure = True, None
                return events[: said.index(DONE) + 1]
            if events:
                return events
        raise StopAsyncIteration

    def _feed(self, chunk: bytes) -> Events:
        try:
            return self._parser.feed(chunk)
        except EventTooLarge as error:
            # The good ones before it are the client's; the failure is told after them.
            self._failure = UpstreamGarbage(f"The upstream '{self._name}' is not to be understood: {error}.")
            return error.before

    async def _end_of_message(self) -> None:
        # The client has its whole answer: what goes wrong or comes now is no failure of it.
        loop = asyncio.get_running_loop()
        end_s = loop.time() + _AFTER_DONE_S
        with contextlib.suppress(UpstreamError):
            while await self._content.read(end_s - loop.time()):
                pass
