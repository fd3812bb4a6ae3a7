"""A call that this gateway makes, and that others may follow.

Its answer is kept as far as it has come, and told from the beginning as soon as anybody follows; until then
nothing is sent. What is kept here or lies in Redis is bounded: an answer that outgrows the bound before it is
told is told to nobody, and one that outgrows it later can be followed by those who are there, but by nobody
who comes then.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from gateway.answer import Answer, Events
from gateway.cache_state import SharedCall
from gateway.errors import ClientDisconnected, Draining
from gateway.exchange import Exchange
from gateway.fleet.failure import told
from gateway.fleet.messages import Abandoned, Closing, Message, Opening, Part, encode
from gateway.hops.coalesce import is_failure
from semantic_cache.admission import DEFAULT_MAX_BYTES
from semantic_cache.errors import StoreUnavailable
from semantic_cache.store.redis_flights import LEASE_S, Lease, RedisFlights

MAX_BYTES = DEFAULT_MAX_BYTES
"""Of an answer, in Redis and again while it waits to be sent there."""
ENTRY_BYTES = 64 * 1024
_PAUSE_S = 0.1
_LEFT = (asyncio.CancelledError, ClientDisconnected, Draining)


class Leading:
    """One lease and the answer that comes of it; the last tap of its stream."""

    def __init__(
        self,
        flights: RedisFlights,
        lease: Lease,
        ex: Exchange,
        call: SharedCall,
        task: asyncio.Task[object],
    ) -> None:
        """`task` makes the call."""
        self._flights = flights
        self.lease = lease
        self._ex = ex
        self._call = call
        self.task = task
        self.followed = False
        """Whether anybody has asked for the answer."""
        self.patient = True
        """Whether a server that fails is given time to come back."""
        self.ending: asyncio.Task[None] | None = None
        """Gives the lease up; set once that has begun."""
        self._heard = 0
        self._renewed_at = time.monotonic()
        self._messages: deque[Message] = deque()
        self._waiting_bytes = 0
        self._complete = False
        self._failed = False
        self._mute = False
        self._news = asyncio.Event()
        self._told: deque[tuple[int, int]] = deque()
        self._told_bytes = 0
        self._teller: asyncio.Task[None] | None = None

    @property
    def failed(self) -> bool:
        """Whether it came to no answer, or to one that a second call may better."""
        return self._failed

    def open(self, answer: Answer) -> None:
        """Take note of the answer, and of its stream as it passes."""
        self._failed = is_failure(answer.status)
        span = self._ex.span.context
        body = answer.body
        whole = isinstance(body, bytes)
        self._add(
            Opening(
                answer.status,
                dict(answer.headers),
                not whole,
                self._call.attempt,
                span.trace_id,
                span.span_id,
                span.flags,
            )
        )
        if isinstance(body, bytes):
            self._add_bytes(body)
            self.ended(None)
        else:
            body.tap(self)

    def feed(self, events: Events) -> Events:
        self._add_bytes(b"".join([event.raw for event in events]))
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        """Take note that the call is over, and why if it failed; later calls do nothing."""
        if self._complete:
            return
        if error is None:
            calls = self._ex.calls
            outcome = calls[-1].outcome if calls else None
            self._add(
                Closing("", calls[-1].upstream, outcome.usage, outcome.counted) if outcome else Closing()
            )
        elif isinstance(error, _LEFT):
            self._failed = True
            if not self._told:
                # A beginning without an end is worth less than nothing: who has none can ask elsewhere.
                self._messages.clear()
            self._add(Abandoned(too_large=False))
        else:
            self._failed = True
            self._add(told(error, self._call.attempt))
        self._complete = True
        self._news.set()

    def follow(self) -> None:
        """Somebody on another gateway waits for the answer: go on for him, and tell it."""
        if not self._complete and not self._mute:
            self._call.hold()
        self.followed = True
        self._heard += 1
        if self._teller is None:
            self._teller = asyncio.create_task(self._tell_all())

    async def beat(self) -> None:
        """Hold on to the lease, and see who follows."""
        if self._mute:
            return
        heard = self._heard
        try:
            standing = await self._flights.renew(self.lease)
        except StoreUnavailable:
            # Whoever follows may take the call for lost; he then makes another, and this one goes on for
            # those who are here. With nobody here it ends when nobody there can wait for it any more.
            if time.monotonic() >= self._renewed_at + LEASE_S:
                self._call.let_go()
            return
        self._renewed_at = time.monotonic()
        if standing.readers:
            self.follow()
        elif self.followed and heard == self._heard:
            # Else somebody has come since the server was asked.
            self._call.let_go()

    async def end(self) -> None:
        """Tell the rest, and give the lease up."""
        self.ended(ClientDisconnected("The client left before the answer was complete."))
        try:
            if self._teller is None:
                if await self._flights.release(self.lease, told=False):
                    return
                self.follow()
            assert self._teller is not None
            await self._teller
            await self._flights.release(self.lease, told=True)
        except StoreUnavailable:
            # Then it expires.
            return

    def _add_bytes(self, data: bytes) -> None:
        for start in range(0, len(data), ENTRY_BYTES):
            self._add(Part(data[start : start + ENTRY_BYTES]))

    def _add(self, message: Message) -> None:
        if self._complete or self._mute:
            return
        self._messages.append(message)
        if isinstance(message, Part):
            self._waiting_bytes += len(message.data)
            if self._waiting_bytes > MAX_BYTES:
                self._messages.clear()
                self._messages.append(Abandoned(too_large=True))
                self._complete = True
        self._news.set()

    async def _tell_all(self) -> None:
        number = 0
        while self._messages or not self._complete:
            if not self._messages:
                self._news.clear()
                await self._news.wait()
                continue
            number += 1
            batch, size = await self._batch()
            self._told.append((number, size))
            self._told_bytes += size
            while self._told_bytes > MAX_BYTES and len(self._told) > 1:
                self._told_bytes -= self._told.popleft()[1]
            last = self._complete and not self._messages
            # The second call must not find the lease of the first one.
            if not await self._tell(number, encode(batch), release=last and self._failed):
                self._mute = True
                self._messages.clear()
                self._call.let_go()
                return

    async def _batch(self) -> tuple[list[Message], int]:
        batch: list[Message] = []
        size = 0
        while self._messages and size < ENTRY_BYTES:
            message = self._messages.popleft()
            if isinstance(message, Part):
                size += len(message.data)
                self._waiting_bytes -= len(message.data)
            elif isinstance(message, Closing) and self._call.orphaned():
                message = await self._bequeath(message)
            batch.append(message)
        return batch, size

    async def _bequeath(self, closing: Closing) -> Closing:
        """Name a follower who answers for the call, since its own requests have left."""
        try:
            heir = await self._flights.any_reader(self.lease)
        except StoreUnavailable:
            heir = None
        return Closing(heir or "", closing.upstream, closing.usage, closing.counted)

    async def _tell(self, number: int, entry: bytes, *, release: bool) -> bool:
        """Tell an entry, again while the server fails; after LEASE_S nobody waits for it any more."""
        oldest = self._told[0][0]
        until = time.monotonic() + LEASE_S
        while True:
            try:
                await self._flights.tell(self.lease, number, entry, oldest=oldest, release=release)
                return True
            except StoreUnavailable:
                if not self.patient or time.monotonic() >= until:
                    return False
                await asyncio.sleep(_PAUSE_S)
