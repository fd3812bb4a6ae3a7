"""One connection to a Redis server that all callers share: commands go out at once, replies come in order.

The client library's pool lends each caller a connection of his own instead: 155 µs of CPU for a GET of 8 KiB.
Its connection class alone wakes a task for every reply: 46. This takes 25, the entry's decoding included;
hiredis packs commands and parses replies.

A caller that leaves takes nothing along: his reply is read and dropped in its turn. If one reply is late,
those behind it are too, so all callers are told at once and the connection is given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from semantic_cache.store.redis_address import Command, RedisAddress

_MORE = object()
_ERRORS: dict[str, type[RedisError]] = {
    "LOADING": BusyLoadingError,
    "NOAUTH": AuthenticationError,
    "NOSCRIPT": NoScriptError,
}


class RedisPipe:
    """Sends commands over a connection that is made anew whenever it is lost. Belongs to one event loop."""

    def __init__(self, address: RedisAddress, timeout_s: float) -> None:
        """Connects with the first command. `timeout_s` bounds connecting, and each reply."""
        self._address = address
        self._timeout_s = timeout_s
        self._connection: RedisConnection | None = None

    def ask(self, *command: str | bytes | int | float) -> asyncio.Future[Any]:
        """Send a command; the future has its reply, or RedisError or OSError (TimeoutError is one)."""
        connection = self._connection
        if connection is None or connection.lost:
            connection = self._connection = RedisConnection(self._address, self._timeout_s)
        return connection.ask(command)

    async def close(self) -> None:
        """Give the connection up; whoever waits for a reply is told that it is closed."""
        if self._connection is not None:
            await self._connection.close()


class RedisConnection(asyncio.Protocol):
    """One connection, from its making to its loss."""

    def __init__(
        self,
        address: RedisAddress,
        timeout_s: float,
        on_message: Callable[[bytes], None] | None = None,
    ) -> None:
        """Begins to connect; what is asked meanwhile is sent afterwards.

        `on_message` hears what is published on the channels that this connection subscribes to.
        """
        self.lost = False
        """Whether it is of no use any more, and all who waited have been told."""
        self._timeout_s = timeout_s
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(
            protocolError=RedisConnectionError, replyError=_error_of, notEnoughData=_MORE
        )
        self._backlog: list[tuple[bytes, float, asyncio.Future[Any]]] = []
        self._replies: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ready = False
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._opening = self._loop.create_task(self._open(address))

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """Send a command; the future has its reply."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub means a tuple of one
        deadline = self._loop.time() + self._timeout_s
        if self._ready:
            self._send(packed, deadline, reply)
        else:
            self._backlog.append((packed, deadline, reply))
        return reply

    async def close(self) -> None:
        """Give it up, and wait until nothing of it is left."""
        self._give_up(RedisConnectionError("closed"))
        await asyncio.wait([self._opening])
        if self._transport is not None:
            await self._gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not to be asked: uvloop's are no subclasses.
        self._transport = cast(asyncio.Transport, transport)
        if self.lost:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        try:
            while (answer := self._parser.gets()) is not _MORE:
                if self._on_message is not None and _is_message(answer):
                    self._on_message(answer[2])
                    continue
                _, reply = self._replies.popleft()
                if reply.done():
                    continue
                if isinstance(answer, Exception):
                    reply.set_exception(answer)
                else:
                    reply.set_result(answer)
        except (RedisConnectionError, IndexError):
            self._give_up(RedisConnectionError("the server does not speak Redis's protocol"))

    def eof_received(self) -> None:
        # After a pause a server may close a connection, which is nobody's failure if nobody waits.
        self._give_up(RedisConnectionError("closed by the server"))

    def connection_lost(self, error: Exception | None) -> None:
        self._give_up(error or RedisConnectionError("closed by the server"))
        if not self._gone.done():
            self._gone.set_result(None)

    async def _open(self, address: RedisAddress) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await address.connect(self)
                deadline = self._loop.time() + self._timeout_s
                greetings = [self._loop.create_future() for _ in address.greeting]
                for command, reply in zip(address.greeting, greetings, strict=True):
                    self._send(hiredis.pack_command(command), deadline, reply)  # type: ignore[arg-type]
                for failure in await asyncio.gather(*greetings, return_exceptions=True):
                    if isinstance(failure, Exception):
                        raise failure
        except (RedisError, OSError) as error:
            self._give_up(error)
            return
        self._ready = True
        for waiting in self._backlog:
            self._send(*waiting)
        self._backlog.clear()

    def _send(self, packed: bytes, deadline: float, reply: asyncio.Future[Any]) -> None:
        assert self._transport is not None
        # What a server leaves unread is bounded by the time until the first reply is late.
        self._transport.write(packed)
        self._replies.append((deadline, reply))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look_at_oldest)

    def _look_at_oldest(self) -> None:
        """Give up if the next reply is late, else look again when it would be; one timer serves all."""
        self._timer = None
        if not self._replies:
            return
        deadline = self._replies[0][0]
        if deadline <= self._loop.time():
            self._give_up(TimeoutError("no reply in time"))
        else:
            self._timer = self._loop.call_at(deadline, self._look_at_oldest)

    def _give_up(self, error: Exception) -> None:
        if self.lost:
            return
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        if asyncio.current_task() is not self._opening:
            self._opening.cancel()
        waiting = [reply for _, reply in self._replies] + [reply for _, _, reply in self._backlog]
        self._replies.clear()
        self._backlog.clear()
        for reply in waiting:
            if not reply.done():
                reply.set_exception(error)


def _is_message(answer: Any) -> bool:
    """Return whether this came unasked; the replies of a connection that subscribes are lists as well."""
    return isinstance(answer, list) and len(answer) == 3 and answer[0] == b"message"


def _error_of(message: str) -> RedisError:
    return _ERRORS.get(message.partition(" ")[0], ResponseError)(message)
