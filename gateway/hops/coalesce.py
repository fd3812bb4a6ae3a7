"""Lets identical requests that are under way share one upstream call, streams included.

The call runs outside of any one request: whoever leaves, the others get their answer. It is charged to the
request that began it, or to its heir if that one leaves first. If it fails, one of those who wait tries once
more for all of them, and what comes of that is everybody's answer.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from gateway.answer import Answer, Events, EventStream
from gateway.config.schema import Streams
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.pipeline import Next, Pipeline
from gateway.wire.errors import kind_of
from semantic_cache.scope import ExactKey
from semantic_cache.single_flight import Flight, SingleFlight

LAST_ATTEMPT = 2
_RETRIED = 500
_TOO_MANY = 429


class _Rider:
    """A request on a flight; an exchange itself has no identity to be looked up by."""

    __slots__ = ("ex",)

    def __init__(self, ex: Exchange) -> None:
        self.ex = ex


# A stream and a whole answer travel differently, and so does a stream with its usage, or one that may be
# taken back. The last part is what a request demands of an answer that turns out to be a stored one: nobody
# follows one who demands less.
_Key: TypeAlias = tuple[ExactKey, bool, bool, Streams | None, tuple[float | None, float | None, float | None]]
_Flight: TypeAlias = Flight[_Rider, Answer, Events]
_Flights: TypeAlias = SingleFlight[_Key, _Rider, Answer, Events]


class _Call:
    """A flight as the hops see it that make its call."""

    def __init__(self, flights: _Flights, key: _Key, flight: _Flight, shared: Exchange) -> None:
        self._flights = flights
        self._key = key
        self._flight = flight
        self._shared = shared
        self._elsewhere: _Rider | None = None

    @property
    def attempt(self) -> int:
        return self._flight.attempt

    @attempt.setter
    def attempt(self, attempt: int) -> None:
        self._flight.attempt = attempt

    def hold(self) -> None:
        if self._elsewhere is None:
            # A branch of its own: should a request take the call over from it, the call keeps its list.
            self._elsewhere = _Rider(self._shared.branch())
        self._flights.hold(self._flight, self._elsewhere)

    def let_go(self) -> None:
        if self._elsewhere is not None:
            self._flights.leave(self._key, self._flight, self._elsewhere)

    def orphaned(self) -> bool:
        return self._flight.leader is self._elsewhere


class Coalesce:
    """Joins a request to the flight of its key, or begins one."""

    name = "coalesce"

    def __init__(self, rest: Pipeline) -> None:
        """`rest` is the pipeline of the hops that follow this one; a flight runs through it once."""
        self._rest = rest
        self._flights: _Flights = SingleFlight(_hand_over)

    async def run(self, ex: Exchange, next: Next) -> Answer:
        cache = ex.cache
        if cache is None or cache.key is None or not cache.shares or ex.view is None:
            return await next(ex)
        demands = (cache.threshold, cache.directives.max_age, cache.directives.min_fresh)
        key = (cache.key, ex.view.stream, ex.view.usage_wanted, ex.streams, demands)
        attempt = 1
        while True:
            rider = _Rider(ex)

            async def start(flight: _Flight) -> None:
                await self._fly(key, ex, flight)

            flight = self._flights.board(key, rider, start, attempt=attempt)
            follows = flight.leader is not rider
            if follows:
                cache.verdict = "coalesced"
                ex.span.link(flight.leader.ex.span.context)
            try:
                head = await _heard(flight.head)
            except BaseException as error:
                self._flights.leave(key, flight, rider)
                if not follows or flight.attempt >= LAST_ATTEMPT or not may_be_retried(error):
                    raise
            else:
                if not (follows and flight.attempt < LAST_ATTEMPT and is_failure(head.status)):
                    if follows:
                        cache.followed = flight.leader.ex.calls
                        cache.stored = () if head.stored is None else (head.stored,)
                    if head.hit is not None:
                        # Whoever follows gets another question's answer as well, and is told so.
                        cache.take(head.hit)
                    return ex.keep(self._share(key, flight, rider, head))
                self._flights.leave(key, flight, rider)
            attempt = LAST_ATTEMPT
            cache.verdict = "miss"

    async def _fly(self, key: _Key, ex: Exchange, flight: _Flight) -> None:
        """Run the rest of the hops for all riders, on an exchange that outlives the one that began it."""
        shared = ex.branch()
        if shared.cache is not None:
            shared.cache.call = _Call(self._flights, key, flight, shared)
        answer: Answer | None = None
        try:
            answer = await self._rest.run(shared)
            if is_failure(answer.status):
                # Who waits for it begins a new flight, and must not find this one again.
                self._flights.land(key, flight)
            flight.head.set_result(answer)
            if isinstance(answer.body, EventStream):
                async for events in answer.body:
                    flight.body.put(events)
            flight.body.end()
            if shared.cache is not None and shared.cache.kept is not None:
                # Until the answer can be found in the store, who asks for it still gets it from here.
                await shared.cache.kept
        except BaseException as error:
            if answer is not None:
                answer.close(error)
            raise
        finally:
            shared.end()

    def _share(self, key: _Key, flight: _Flight, rider: _Rider, head: Answer) -> Answer:
        if isinstance(head.body, bytes):
            self._flights.leave(key, flight, rider)
            return Answer(head.status, head.body, dict(head.headers), head.hit, head.stored)
        stream = EventStream(flight.body.read(), lambda: self._flights.leave(key, flight, rider))
        return Answer(head.status, stream, dict(head.headers), head.hit, head.stored)


async def _heard(head: asyncio.Future[Answer]) -> Answer:
    """Wait for a future that others wait for too; `asyncio.shield` does the same at twice the cost."""
    if not head.done():
        heard: asyncio.Future[None] = head.get_loop().create_future()

        def tell(_: object) -> None:
            if not heard.done():
                heard.set_result(None)

        head.add_done_callback(tell)
        try:
            await heard
        finally:
            head.remove_done_callback(tell)
    return head.result()


def _hand_over(old: _Rider, new: _Rider) -> None:
    """Make the new leader answer for the call, whose lists the flight goes on filling."""
    new.ex.calls, old.ex.calls = old.ex.calls, []
    old.ex.inner.extend(new.ex.inner)
    new.ex.inner, old.ex.inner = old.ex.inner, []
    new.ex.scorings, old.ex.scorings = old.ex.scorings, []


def is_failure(status: int) -> bool:
    """Return whether an answer of this status is one that a second call may better."""
    return status >= _RETRIED or status == _TOO_MANY


def may_be_retried(error: BaseException) -> bool:
    """Return whether a call that failed like this may be made once more."""
    return isinstance(error, GatewayError) and is_failure(kind_of(error).status)
