"""Holds a stream back until it is known whether the client shall see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.answer import Answer, Events, EventStream
from gateway.errors import UpstreamTimeout
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.routing.early import Early
from gateway.wire.reply import Reply, StreamedReply
from gateway.wire.usage import Outcome, UsageTap
from telemetry import names

MOST_BYTES = 1 << 20


class GivenUp(Exception):
    """The answer will not do, whatever else would come of it; the message says why."""


@dataclass(frozen=True, slots=True)
class HeldStream:
    """A stream that has come to its end."""

    events: Events
    """As the upstream sent them."""
    answer: Answer
    """Its head."""
    trimmed: bool
    """Usage that only the gateway asked for was in it."""
    reply: Reply | None
    """What it says; None if that cannot be read."""

    def release(self, ex: Exchange) -> Answer:
        """Return the answer as if it had just come: whoever observes the exchange's stream sees all of it."""
        stream = EventStream(_at_once(self.events), lambda: None)
        for observer in ex.observers:
            stream.tap(observer)
        stream.tap(UsageTap(Outcome(), remove=self.trimmed))
        return ex.keep(Answer(self.answer.status, stream, dict(self.answer.headers)))


async def hold(
    ex: Exchange, next: Next, response_format: Mapping[str, Any] | None, seconds: float
) -> Answer | HeldStream:
    """Run what follows, with observers of its own, and take in the stream; an answer that is none comes back
    as it is.

    Raises GivenUp for a stream that takes more than 1 MB or `seconds`, or cannot become a good answer any
    more, and what the stream raises.
    """
    clock = asyncio.timeout(seconds)
    twin = ex.branch()
    twin.why_cancelled = lambda: _late(seconds) if clock.expired() else ex.why_cancelled()
    taken = Taken(response_format)
    twin.observers.append(taken)
    answer = None
    try:
        async with clock:
            answer = await next(twin)
            if not isinstance(answer.body, EventStream):
                return answer
            passed = 0
            async for events in answer.body:
                passed += sum(len(event.raw) for event in events)
                if taken.given_up is not None:
                    raise GivenUp(taken.given_up)
        return HeldStream(taken.events, answer, passed != taken.size, taken.reply.whole())
    except BaseException as error:
        if answer is not None:
            answer.close(broken_off(str(error)) if isinstance(error, GivenUp) else error)
        if isinstance(error, TimeoutError) and clock.expired():
            raise GivenUp(str(_late(seconds))) from None
        raise
    finally:
        twin.end()


def broken_off(why: str) -> UpstreamTimeout:
    """Return what happened to a call that we did not wait for."""
    return UpstreamTimeout(why, cause=names.GIVEN_UP)


def _late(seconds: float) -> UpstreamTimeout:
    return broken_off(f"it took longer than {seconds:g} s")


async def _at_once(events: Events) -> AsyncIterator[Events]:
    yield events


class Taken:
    """Keeps what the upstream sends, and reads it on the way."""

    __slots__ = ("_early", "events", "given_up", "reply", "size")

    def __init__(self, response_format: Mapping[str, Any] | None) -> None:
        self.events: Events = []
        self.size = 0
        self.reply = StreamedReply()
        self.given_up: str | None = None
        """Why the answer will not do, once that is known."""
        self._early = Early(response_format)

    def feed(self, events: Events) -> Events:
        self.events += events
        self.size += sum(len(event.raw) for event in events)
        more = self.reply.feed(event.data for event in events if event.type in ("message", "error"))
        if self.given_up is None and (broken := self._early.broken(more)) is not None:
            self.given_up = f"it is of no use: {broken}"
        if self.size > MOST_BYTES:
            self.given_up = "it is longer than 1 MB"
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        """The events are there until they are released or dropped."""
