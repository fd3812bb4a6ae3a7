"""The answer of a call that another gateway makes, as it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import msgspec

from gateway.answer import Events
from gateway.errors import GatewayError, UpstreamBroke
from gateway.fleet.failure import raised
from gateway.fleet.messages import Abandoned, Closing, Failing, Message, Opening, Part, decode
from gateway.upstreams.events import MAX_EVENT_BYTES
from gateway.wire.sse import UNFINISHED, Event, SseParser
from semantic_cache.errors import StoreUnavailable
from semantic_cache.store.flight_reader import FlightReader, LeaderGone, Missed


class Alone(Exception):
    """The answer is not to be had from a leader: the request must go without one. `reason` is one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CallFailed(Exception):
    """The call failed before there was an answer."""

    def __init__(self, failing: Failing) -> None:
        super().__init__(failing.error)
        self.attempt = failing.attempt
        self.error: GatewayError = raised(failing)


class Following:
    """One call, followed for all requests of this gateway that wait for it."""

    def __init__(self, reader: FlightReader) -> None:
        self._reader = reader
        self._messages: deque[Message] = deque()
        self.delivering = False
        """Whether a client may have some of the answer, so that no other call's can take its place."""
        self.lost = False
        """Whether the answer was lost when it was not complete."""
        self.closing: Closing | None = None
        """Set when the answer is complete."""

    @property
    def is_heir(self) -> bool:
        """Whether this gateway has to answer for the call's cost."""
        return self.closing is not None and self.closing.heir == self._reader.seat.reader

    async def opening(self) -> Opening:
        """Wait for the head. Raises CallFailed, Alone, LeaderGone, StoreUnavailable."""
        message = await self._next()
        if isinstance(message, Failing):
            raise CallFailed(message)
        if not isinstance(message, Opening):
            raise LeaderGone
        return message

    async def whole(self) -> bytes:
        """Wait for all of the body. Raises the same."""
        return b"".join([data async for data in self._parts()])

    async def events(self) -> AsyncIterator[Events]:
        """Yield a stream's events as they are told. Raises the same, and UpstreamBroke once it delivers."""
        parser = SseParser(MAX_EVENT_BYTES)
        try:
            async for data in self._parts():
                if events := parser.feed(data):
                    yield events
        except (LeaderGone, Alone, StoreUnavailable) as gone:
            if not self.delivering:
                raise
            self.lost = True
            raise UpstreamBroke(
                "The gateway that made the call was lost before the answer was complete."
            ) from gone
        except CallFailed as failed:
            raise failed.error from None
        if rest := parser.rest():
            yield [Event(rest, type=UNFINISHED)]

    async def close(self) -> None:
        """Follow no longer."""
        await self._reader.close()

    async def _parts(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._next()
            if isinstance(message, Part):
                yield message.data
            elif isinstance(message, Closing):
                self.closing = message
                return
            elif isinstance(message, Failing):
                raise CallFailed(message)
            else:
                raise LeaderGone

    async def _next(self) -> Message:
        while not self._messages:
            try:
                for entry in await self._reader.next(patient=self.delivering):
                    self._messages += decode(entry)
                if self._messages and not self.delivering and isinstance(self._messages[-1], Abandoned):
                    # It has no end, so nobody shall have its beginning.
                    self._messages = deque([self._messages[-1]])
            except Missed:
                raise Alone("too_large") from None
            except msgspec.DecodeError:
                raise LeaderGone from None
            except (LeaderGone, StoreUnavailable):
                raise
            except Exception as error:
                # What nobody foresaw costs a call, not the answer.
                raise Alone("unavailable") from error
        message = self._messages.popleft()
        if isinstance(message, Abandoned):
            raise Alone("too_large") if message.too_large else LeaderGone()
        return message
