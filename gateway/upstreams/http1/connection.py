"""One connection, which carries one exchange at a time."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

from gateway.upstreams.http1.errors import Closed, HttpError, ProtocolError, TimedOut, Unsent
from gateway.upstreams.http1.parser import ResponseParser

_SLICE_BYTES = 256 * 1024
"""A larger request is written in slices, so that it holds up no other one."""
_READ_AHEAD_BYTES = 256 * 1024
"""Content that nobody has taken yet; beyond it the server has to wait."""
_UNUSABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Connection(asyncio.Protocol):
    """`request` sends, `read` returns the content, `finish` says whether another request may follow.

    All of it belongs to one task at a time. Whatever was raised, a cancellation included: `finish` still has
    to be called, and closes a connection on which the exchange did not come to its end.
    """

    __slots__ = (
        "_deadline",
        "_failure",
        "_loop",
        "_on_lost",
        "_poll",
        "_reading_paused",
        "_response",
        "_sent",
        "_timer",
        "_timer_at",
        "_transport",
        "_under_way",
        "_waiter",
        "_writing_paused",
        "idle_since_s",
        "lost",
        "reused",
    )

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        """`on_lost` is called when the connection is gone, whoever closed it."""
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._response = ResponseParser()
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._under_way = False
        self._sent = True
        self._failure: HttpError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._reading_paused = False
        self._writing_paused = False
        self.lost = False
        self.reused = False
        """Whether it has carried a request before the one under way."""
        self.idle_since_s = 0.0
        """On the loop's clock."""

    @property
    def status(self) -> int:
        """The status of the response."""
        return self._response.status

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response, by names in lower case."""
        return self._response.headers

    @property
    def begun(self) -> bool:
        """Whether any byte of the response has come."""
        return self._response.begun

    async def request(self, head: bytes, body: bytes, deadline_s: float) -> None:
        """Send a request and wait for the head of its response, until `deadline_s` on the loop's clock.

        A response may come before the request is sent; the rest of it is not sent then.
        Raises TimedOut, Closed, ProtocolError.
        """
        if self._failure is not None:
            raise self._failure
        response = self._response
        response.expect()
        self._under_way = True
        if len(body) <= _SLICE_BYTES:
            self._transport.write(head + body)
        else:
            await self._send_slices(head, body, deadline_s)
        while not response.head_complete:
            if self._failure is not None:
                raise self._failure
            await self._wait(deadline_s)

    async def read(self, patience_s: float) -> bytes:
        """Return the content that has come in, or b"" at its end; waits so long for more.

        Raises TimedOut, Closed, ProtocolError.
        """
        response = self._response
        while not response.buffered:
            if response.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait(self._loop.time() + patience_s)
        content = response.take()
        if self._reading_paused:
            self._resume_reading()
        return content

    def finish(self) -> bool:
        """End the exchange. Returns whether the connection may carry another; otherwise it is closed."""
        self._under_way = False
        response = self._response
        if self._failure is None and self._sent and response.complete and response.keep_alive:
            if self._reading_paused:
                self._resume_reading()
            self.reused = True
            self.idle_since_s = self._loop.time()
            return True
        self.abort()
        return False

    def usable(self) -> bool:
        """Return whether an idle connection is still open, as far as this machine knows.

        The loop may not have got round to telling us, and a POST that is written after the server has closed
        could not be repeated: nothing would say that it was never read. So the kernel is asked.
        """
        return self._failure is None and not self._poll.poll(0)

    def abort(self) -> None:
        """Close at once."""
        self._fail(Closed("closed by the gateway"))

    def _fail(self, failure: HttpError) -> None:
        if self._failure is None:
            self._failure = failure
            self._transport.abort()
            self._wake()

    async def _send_slices(self, head: bytes, body: bytes, deadline_s: float) -> None:
        self._sent = False
        self._transport.write(head)
        rest = memoryview(body)
        while rest:
            if self._failure is not None:
                raise self._failure
            if self._response.head_complete:
                return
            if self._writing_paused:
                await self._wait(deadline_s)
                continue
            self._transport.write(rest[:_SLICE_BYTES])
            rest = rest[_SLICE_BYTES:]
            # The kernel may take slice after slice; the other requests get their turn all the same.
            await asyncio.sleep(0)
        self._sent = True

    async def _wait(self, deadline_s: float) -> None:
        """Wait until something happens on the connection. Raises TimedOut."""
        # One timer serves a connection for all its life: it is set back when it fires, and only moved when it
        # would fire too late. A timer for every wait would cost more than the wait.
        self._deadline = deadline_s
        if self._timer is None or deadline_s < self._timer_at:
            self._set_timer(deadline_s)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at_s, self._on_timer)
        self._timer_at = at_s

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._waiter.set_exception(TimedOut("the server was silent for too long"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume_reading(self) -> None:
        self._reading_paused = False
        if self._failure is None:
            self._transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class, but have all of its methods.
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), _UNUSABLE)

    def data_received(self, data: bytes) -> None:
        if not self._under_way:
            # An answer to nothing: taken for that of the next request, it would be somebody else's.
            return self._fail(ProtocolError("bytes that no request has asked for"))
        response = self._response
        try:
            response.feed(data)
        except ProtocolError as error:
            return self._fail(error)
        if response.buffered > _READ_AHEAD_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        # The transport would wait for its unsent bytes before it tells us that the connection is lost.
        self._response.end()
        self._fail(Closed("closed by the server"))

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._failure is None:
            if exc is None:
                self._response.end()
            # A broken pipe is a write's error: the server had closed before it.
            gone = isinstance(exc, BrokenPipeError) and self._sent and not self._response.begun
            self._failure = (Unsent if gone else Closed)(str(exc or "closed by the server"))
            self._wake()
        self._on_lost(self)
