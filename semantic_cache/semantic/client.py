"""A worker's end of the socket to the semantic process. Whatever happens to that process, it costs hits only.

Calls have a deadline. A connection that is lost, or a process that lets several calls in a row wait too long,
is an outage: from then on calls are refused at once and cost nothing, while this end tries by itself whether
the process is back. No request ever waits to find that out.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import TypeVar, cast

import msgspec
import structlog

from semantic_cache.semantic.protocol import (
    LATE,
    UNANSWERED,
    BadFrame,
    Call,
    Embed,
    Embedded,
    Failed,
    Frames,
    Reply,
    decode_reply,
    frame,
)

LATE_CALLS = 3
"""Calls in a row that must be late before the process counts as hung; one alone may have met a long text."""
MAX_WAITING = 256
"""Calls under way; one more is refused, since it would be late."""
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
PROBE_S = 2.0
_PROBE = "ready"
QUIET_S = 60.0
"""A process that comes and goes within this time is one outage, and in the log one pair of lines."""

_CREDENTIALS = struct.Struct("iII")
R = TypeVar("R", bound=Reply)
OnOutcome = Callable[[str], None]
"""Told what became of each call: `answered`, `failed`, `late`, `down` or `full`."""
_log = structlog.get_logger("semantic_cache.client")


class SemanticClient:
    """Asks the process at a socket. Belongs to one event loop."""

    def __init__(self, path: str, on_outcome: OnOutcome = lambda outcome: None) -> None:
        """Nothing is connected before `start`."""
        self._path = path
        self._on_outcome = on_outcome
        self._connection: _Connection | None = None
        self._up = False
        self._sick = asyncio.Event()
        self._late = 0
        self._probe_s = PROBE_S
        self._warned = False
        self._keeper: asyncio.Task[None] | None = None
        self._was_up = False
        self._logged = False
        self._down_since = 0.0
        self._quiet_until = float("-inf")

    @property
    def up(self) -> bool:
        """Whether calls are sent; if not, they are refused at once."""
        return self._up

    def start(self) -> None:
        """Begin to connect, and to stay connected."""
        self._keeper = asyncio.create_task(self._keep(), name="semantic client")

    async def close(self) -> None:
        """Give the connection up; calls under way are refused."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self._drop()

    async def ask(self, call: Call, kind: type[R], deadline_s: float) -> R | None:
        """Return the answer, or None if there is none in time: down, late, or unable to say."""
        connection = self._connection
        if not self._up or connection is None:
            self._on_outcome("down")
            return None
        if connection.waiting >= MAX_WAITING:
            self._on_outcome("full")
            return None
        try:
            reply = await connection.ask(call, deadline_s)
        except TimeoutError:
            self._was_late(connection, deadline_s)
            return None
        except (ConnectionError, BadFrame):
            self._on_outcome("down")
            return None
        if isinstance(reply, Failed) and reply.reason == LATE:
            # The process has watched the same clock.
            self._was_late(connection, deadline_s)
            return None
        self._late = 0
        if not isinstance(reply, kind):
            self._on_outcome("failed")
            if not isinstance(reply, Failed):
                connection.give_up(ConnectionError("it answers what was not asked"))
            return None
        self._on_outcome("answered")
        return reply

    def tell(self, call: Call) -> None:
        """Say something that is not answered; if nobody listens it is lost."""
        if self._up and self._connection is not None:
            self._connection.tell(call)

    def _was_late(self, connection: _Connection, deadline_s: float) -> None:
        self._on_outcome("late")
        self._late += 1
        if self._late >= LATE_CALLS and connection is self._connection:
            # Back is what would have been in time.
            self._probe_s = min(deadline_s, PROBE_S)
            self._fall("it does not answer")

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            if await self._connect():
                pause = FIRST_PAUSE_S
                self._rise()
                await self._until_down()
            self._drop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _connect(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PROBE_S):
                _, connection = await loop.create_unix_connection(_Connection, self._path)
        except (OSError, TimeoutError):
            return False
        self._connection = connection
        if not connection.ours:
            if not self._warned:
                _log.error("semantic_socket_refused", reason="a process of another user listens there")
            self._warned = True
            return False
        return await self._probe()

    async def _until_down(self) -> None:
        """Return when the connection is lost, or the process hangs and does not come to itself."""
        connection = self._connection
        assert connection is not None
        while True:
            sick = asyncio.create_task(self._sick.wait())
            try:
                await asyncio.wait((sick, connection.lost), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sick.cancel()
            if connection.lost.done():
                self._fall("the connection is lost")
                return
            if not await self._probe():
                return
            self._rise()

    async def _probe(self) -> bool:
        """Return whether the process embeds a short text in time: less says nothing of what requests meet."""
        assert self._connection is not None
        try:
            return isinstance(await self._connection.ask(Embed([_PROBE]), self._probe_s), Embedded)
        except (OSError, BadFrame):
            return False

    def _rise(self) -> None:
        self._up, self._late, self._probe_s = True, 0, PROBE_S
        self._sick.clear()
        if self._was_up and self._logged:
            _log.warning("semantic_recovered", seconds=round(time.monotonic() - self._down_since, 3))
            self._quiet_until = time.monotonic() + QUIET_S
        self._was_up = True

    def _fall(self, why: str) -> None:
        if not self._up:
            return
        self._up = False
        self._sick.set()
        self._down_since = time.monotonic()
        self._logged = self._down_since >= self._quiet_until
        if self._logged:
            _log.warning("semantic_unavailable", reason=why, effect="requests go on as misses")

    def _drop(self) -> None:
        self._up = False
        if self._connection is not None:
            self._connection.give_up(ConnectionError("closed"))
            self._connection = None


class _Connection(asyncio.Protocol):
    """One connection, from its making to its loss."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._numbers = itertools.count(UNANSWERED + 1)
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    @property
    def ours(self) -> bool:
        """Whether the other end belongs to our own user, where the system says."""
        if sys.platform != "linux" or self._transport is None:
            return True
        peer = self._transport.get_extra_info("socket")
        # struct ucred of unix(7): pid, uid, gid.
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return bool(_CREDENTIALS.unpack(credentials)[1] == os.geteuid())

    @property
    def waiting(self) -> int:
        return len(self._asked)

    async def ask(self, call: Call, deadline_s: float) -> Reply:
        """Return the answer. Raises TimeoutError, ConnectionError, BadFrame."""
        if self.lost.done():
            raise ConnectionError("closed")
        number = next(self._numbers)
        data = frame(number, call)
        reply: asyncio.Future[Reply] = self._loop.create_future()
        timer = self._loop.call_later(deadline_s, _too_late, reply)
        self._asked[number] = reply
        try:
            assert self._transport is not None
            self._transport.write(data)
            return await reply
        finally:
            timer.cancel()
            self._asked.pop(number, None)

    def tell(self, call: Call) -> None:
        """Send a message that is not answered."""
        if self._transport is not None and not self.lost.done():
            self._transport.write(frame(UNANSWERED, call))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not to be asked: uvloop's are no subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                number, reply = decode_reply(body)
                waiting = self._asked.pop(number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        except (BadFrame, msgspec.DecodeError) as error:
            self.give_up(ConnectionError(str(error)))

    def connection_lost(self, error: Exception | None) -> None:
        self.give_up(ConnectionError("closed by the process"))

    def give_up(self, error: ConnectionError) -> None:
        """Close the connection; whoever waits for an answer is told why."""
        if self._transport is not None:
            self._transport.abort()
        if not self.lost.done():
            self.lost.set_result(None)
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(error)


def _too_late(reply: asyncio.Future[Reply]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())
