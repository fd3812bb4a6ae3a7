"""The connections to one origin: so many at most, kept for a while, given out first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.dial import dial
from gateway.upstreams.http1.errors import Closed, TimedOut
from gateway.upstreams.http1.origin import Origin

KEEP_ALIVE_S = 4.0
"""Shorter than the five seconds of uvicorn and Node: we rarely write to a connection that is just closing."""


class Pool:
    """Who acquires a connection releases it, whatever happens."""

    def __init__(
        self, origin: Origin, limit: int, connect_s: float, keep_alive_s: float = KEEP_ALIVE_S
    ) -> None:
        self._origin = origin
        self._limit = limit
        self._connect_s = connect_s
        self._keep_alive_s = keep_alive_s
        self._loop = asyncio.get_running_loop()
        # Connections that are given out or being made. Idle ones are not among them: they are always used
        # before a new one is made, so that both together do not go past the limit either.
        self._in_use = 0
        # The one used last is at the right, and is used next: the others grow old and are closed.
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_lost = asyncio.Event()

    @property
    def in_use(self) -> int:
        """Connections that are given out or being made."""
        return self._in_use

    @property
    def idle(self) -> int:
        """Connections that wait for their next request."""
        return len(self._idle)

    async def acquire(self, deadline_s: float) -> Connection:
        """Return a connection, kept or new, after a wait if as many as may be are in use.

        `deadline_s` is for the wait, on the loop's clock. Raises TimedOut, ConnectFailed, Closed.
        """
        if self._closed:
            raise Closed("the pool is closed")
        if self._in_use < self._limit:
            self._in_use += 1
        else:
            await self._turn(deadline_s)
        while self._idle:
            connection = self._idle.pop()
            if self._loop.time() - connection.idle_since_s < self._keep_alive_s and connection.usable():
                return connection
            connection.abort()
        return await self._new(deadline_s)

    async def replace(self, connection: Connection, deadline_s: float) -> Connection:
        """Return a new connection in the place of one that is lost.

        Raises TimedOut, ConnectFailed, Closed; the place is free then.
        """
        connection.finish()
        return await self._new(deadline_s)

    def release(self, connection: Connection) -> None:
        """Take a connection back at the end of an exchange; it is closed unless it may carry another."""
        if connection.finish():
            self._idle.append(connection)
            if self._reaper is None:
                self._reaper = self._loop.call_later(self._keep_alive_s, self._reap)
        self._free_place()

    async def close(self) -> None:
        """Close all connections, those in use included, and wait until they are gone."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(Closed("the pool is closed"))
        self._idle.clear()
        for connection in self._open:
            connection.abort()
        if self._open:
            self._all_lost.clear()
            await self._all_lost.wait()

    async def _new(self, deadline_s: float) -> Connection:
        """Return a new connection, or give the caller's place to the next."""
        left_s = deadline_s - self._loop.time()
        try:
            if left_s <= 0:
                raise TimedOut("no time was left to connect")
            connection = await dial(self._origin, self._make, min(self._connect_s, left_s))
        except BaseException:
            self._free_place()
            raise
        if not connection.lost:
            self._open.add(connection)
        if self._closed:
            self.release(connection)
            raise Closed("the pool is closed")
        return connection

    def _make(self) -> Connection:
        return Connection(self._on_lost)

    async def _turn(self, deadline_s: float) -> None:
        waiter = self._loop.create_future()
        clock = self._loop.call_at(deadline_s, _time_out, waiter)
        self._waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            # Cancelled in the very moment when the place was given to us: it goes to the next.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._free_place()
            raise
        finally:
            clock.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _free_place(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                # The place goes from hand to hand, so that nobody who comes now can be before it.
                waiter.set_result(None)
                return
        self._in_use -= 1

    def _on_lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._open:
            self._all_lost.set()

    def _reap(self) -> None:
        self._reaper = None
        oldest_s = self._loop.time() - self._keep_alive_s
        while self._idle and self._idle[0].idle_since_s <= oldest_s:
            self._idle.popleft().abort()
        if self._idle:
            at_s = self._idle[0].idle_since_s + self._keep_alive_s
            self._reaper = self._loop.call_at(at_s, self._reap)


def _time_out(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimedOut("all connections were in use for too long"))
