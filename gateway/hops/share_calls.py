"""Lets identical requests on several gateways over one Redis share one upstream call, streams included.

It stands behind the coalescing hop, so each gateway takes part once for all of its own requests. One has the
lease and makes the call; the others get its answer as it comes. They are charged nothing for it, as little as
requests that follow within one gateway. If the leader is lost, one of those whose clients have nothing yet
makes the call anew. Whatever fails here costs another call, never an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from gateway.answer import Answer, Events, EventStream
from gateway.cache_state import CacheState, SharedCall
from gateway.drain import Drain
from gateway.errors import UpstreamBroke
from gateway.exchange import Call, Exchange
from gateway.fleet.following import Alone, CallFailed, Following
from gateway.fleet.leading import Leading
from gateway.fleet.messages import KIND_VERSION, Abandoned, encode
from gateway.hops.coalesce import LAST_ATTEMPT, is_failure
from gateway.hops.exact_cache import replay
from gateway.pipeline import Next
from semantic_cache.errors import StoreUnavailable
from semantic_cache.freshness import Use, use_of
from semantic_cache.replay import can_serve
from semantic_cache.store.base import Store
from semantic_cache.store.flight_reader import FlightReader, LeaderGone
from semantic_cache.store.redis_flights import BEAT_S, Lease, RedisFlights, Seat, Taken
from telemetry.context import SAMPLED, TraceContext
from telemetry.metrics import GatewayMetrics

MAX_FOLLOWED = 64
"""Calls that one gateway follows at a time, each on a connection of its own."""
MAX_LEADERS = 4
"""A request that has lost so many leaders goes alone."""
_PATIENCE_S = 0.5
_EARLY = 256


class ShareCalls:
    """Makes a call for all gateways, or follows the one that does."""

    name = "fleet"

    def __init__(
        self,
        flights: RedisFlights,
        store: Store,
        metrics: GatewayMetrics,
        drain: Drain,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._flights = flights
        self._store = store
        self._metrics = metrics
        self._drain = drain
        self._clock = clock
        self._leading: dict[str, Leading] = {}
        self._following = 0
        self._beating: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Tokens of leases of ours that were followed before we heard that we have them.
        self._early: deque[str] = deque(maxlen=_EARLY)
        flights.bind(self._followed)

    def start(self) -> None:
        """Begin to listen for those who follow."""
        self._flights.start()

    async def run(self, ex: Exchange, next: Next) -> Answer:
        state = ex.cache
        # What must not be stored must not lie in Redis either.
        if state is None or state.call is None or not state.stores or ex.view is None:
            return await next(ex)
        alone = "lost"
        for leaders in range(MAX_LEADERS):
            try:
                answer = await self._take_part(ex, state, state.call, next, lost=leaders > 0)
            except StoreUnavailable:
                alone = "unavailable"
                break
            except Alone as reason:
                alone = reason.reason
                break
            except LeaderGone:
                continue
            if answer is not None:
                return answer
        self._metrics.cache_flight(alone)
        return await next(ex)

    async def close(self) -> None:
        """Wait for the calls that others follow, as for requests; then give all leases up."""
        while not self._drain.expired and self._leading:
            await asyncio.wait([leading.ending or leading.task for leading in self._leading.values()])
        if self._beating is not None:
            self._beating.cancel()
        for leading in self._leading.values():
            leading.patient = False
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._flights.close()

    async def _take_part(
        self, ex: Exchange, state: CacheState, call: SharedCall, next: Next, *, lost: bool
    ) -> Answer | None:
        """Lead or follow; None says that the call failed, and that a second one is to be made."""
        assert state.key is not None
        try:
            place = await self._flights.take(state.key, _kind(ex))
        except StoreUnavailable:
            raise
        except Exception as error:
            raise Alone("unavailable") from error
        if isinstance(place, Seat):
            return await self._follow(ex, state, call, place)
        if place.stored and (answer := await self._stored(ex, state, place)) is not None:
            self._metrics.cache_flight("stored")
            return answer
        return await self._lead(ex, call, place.lease, next, lost=lost)

    async def _lead(self, ex: Exchange, call: SharedCall, lease: Lease, next: Next, *, lost: bool) -> Answer:
        # Whoever shuts down or is replaced waits for this call as for a request: others may follow it.
        leading = Leading(self._flights, lease, ex, call, self._drain.enter())
        self._leading[lease.token] = leading
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())
        if lease.token in self._early:
            leading.follow()
        # By then the answer is in the store, if it ever will be.
        ex.at_end(lambda: self._end(leading, lost=lost))
        try:
            answer = await next(ex)
            leading.open(answer)
        except BaseException as error:
            leading.ended(error)
            if not isinstance(error, asyncio.CancelledError):
                await self._give_up(leading, lost=lost)
            raise
        if leading.failed:
            await self._give_up(leading, lost=lost)
        return answer

    async def _follow(self, ex: Exchange, state: CacheState, call: SharedCall, seat: Seat) -> Answer | None:
        if self._following >= MAX_FOLLOWED:
            self._flights.leave(seat)
            raise Alone("crowded")
        try:
            following = Following(FlightReader(self._flights, seat))
        except Exception as error:
            self._flights.leave(seat)
            raise Alone("unavailable") from error
        self._following += 1
        closed = False

        def close() -> None:
            nonlocal closed
            if not closed:
                closed = True
                self._following -= 1
                self._later(following.close())

        try:
            answer = await self._answer_of(ex, state, call, following, close)
        except CallFailed as failed:
            close()
            if failed.attempt < LAST_ATTEMPT and call.attempt < LAST_ATTEMPT:
                call.attempt = LAST_ATTEMPT
                return None
            call.attempt = LAST_ATTEMPT
            raise failed.error from None
        except BaseException:
            close()
            raise
        if answer is None or isinstance(answer.body, bytes):
            close()
        return answer

    async def _answer_of(
        self,
        ex: Exchange,
        state: CacheState,
        call: SharedCall,
        following: Following,
        close: Callable[[], None],
    ) -> Answer | None:
        head = await following.opening()
        if is_failure(head.status):
            second = head.attempt < LAST_ATTEMPT and call.attempt < LAST_ATTEMPT
            call.attempt = LAST_ATTEMPT
            if second:
                return None
        body: bytes | EventStream
        if head.stream:
            body = EventStream(self._events(ex, following), close)
            # Until there is something to deliver, another call may take the place of this one.
            if not await body.prime():
                raise LeaderGone
            following.delivering = True
        else:
            body = await following.whole()
            self._settle(ex, following)
        state.verdict = "coalesced"
        ex.span.link(TraceContext(head.trace_id, head.span_id, head.flags))
        return ex.keep(Answer(head.status, body, dict(head.headers)))

    async def _events(self, ex: Exchange, following: Following) -> AsyncIterator[Events]:
        try:
            async for events in following.events():
                yield events
        except UpstreamBroke:
            if following.lost:
                self._metrics.cache_flight("broken")
            raise
        self._settle(ex, following)

    def _settle(self, ex: Exchange, following: Following) -> None:
        """Count an answer that has come whole; answer for its cost if nobody else does, else it is saved."""
        self._metrics.cache_flight("followed")
        closing = following.closing
        if closing is None or ex.route is None:
            return
        inherited = Call(closing.upstream, ex.route.model, ex.route.target)
        inherited.ended_s, inherited.status = inherited.started_s, 200
        inherited.outcome.usage, inherited.outcome.counted = closing.usage, closing.counted
        if following.is_heir:
            ex.calls.append(inherited)
        elif ex.cache is not None:
            ex.cache.followed = (inherited,)

    async def _stored(self, ex: Exchange, state: CacheState, taken: Taken) -> Answer | None:
        """Return the answer that another call has stored since this request was looked up."""
        assert state.key is not None and ex.view is not None
        try:
            entry = await self._store.get(state.key)
        except StoreUnavailable:
            return None
        except BaseException:
            self._later(self._release(taken.lease))
            raise
        now = self._clock()
        if entry is None or use_of(entry, state.directives, now) is not Use.FRESH:
            return None
        if not can_serve(entry, stream=ex.view.stream, usage_wanted=ex.view.usage_wanted):
            return None
        self._later(self._release(taken.lease))
        state.verdict = "coalesced"
        if entry.trace_id:
            ex.span.link(TraceContext(entry.trace_id, entry.span_id, SAMPLED))
        return replay(ex, entry, now)

    async def _release(self, lease: Lease) -> None:
        """Give up a lease that no call was made under."""
        try:
            if not await self._flights.release(lease, told=False):
                entry = encode([Abandoned(too_large=False)])
                await self._flights.tell(lease, 1, entry, oldest=1, release=True)
        except StoreUnavailable:
            # Then it expires.
            return

    async def _give_up(self, leading: Leading, *, lost: bool) -> None:
        """Let nobody follow a call that failed: whoever tries again must not find its lease."""
        self._end(leading, lost=lost)
        if leading.ending is not None:
            await asyncio.wait([leading.ending], timeout=_PATIENCE_S)

    def _end(self, leading: Leading, *, lost: bool) -> None:
        """Give a lease up, in the background; later calls do nothing."""
        if leading.ending is None:
            self._drain.leave(leading.task)
            leading.ending = self._later(self._tell_end(leading, lost=lost))

    async def _tell_end(self, leading: Leading, *, lost: bool) -> None:
        try:
            await leading.end()
        finally:
            self._leading.pop(leading.lease.token, None)
        if lost:
            self._metrics.cache_flight("took_over")
        else:
            self._metrics.cache_flight("shared" if leading.followed else "led")

    def _followed(self, token: str) -> None:
        if (leading := self._leading.get(token)) is not None:
            leading.follow()
        else:
            self._early.append(token)

    async def _beat(self) -> None:
        """Keep all leases alive, as long as there are any."""
        while self._leading:
            await asyncio.sleep(BEAT_S)
            await asyncio.gather(*[leading.beat() for leading in self._leading.values()])

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _kind(ex: Exchange) -> str:
    """Return what tells apart answers that travel differently: whole ones, streams, streams with usage, and
    streams that may be taken back or not."""
    assert ex.view is not None
    if not ex.view.stream:
        return f"{KIND_VERSION}w"
    return KIND_VERSION + ("u" if ex.view.usage_wanted else "s") + (ex.streams or "")
