"""Holds a stream back until it is known whether the client shall see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from gateway.answer import Answer, Events, EventStream
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.wire.usage import DONE, Outcome, UsageTap
from semantic_cache.assemble import assemble
from semantic_cache.errors import NotReplayable

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class HeldStream:
    """A stream that has come to its end."""

    events: Events
    """As the upstream sent them."""
    answer: Answer
    """Its head."""
    trimmed: bool
    """Usage that only the gateway asked for was in it."""

    def whole(self) -> bytes | None:
        """Return the JSON of the whole answer; None if the stream is not understood."""
        data = [event.data for event in self.events if event.data is not None and event.data != DONE]
        try:
            return assemble("chat", data)
        except NotReplayable:
            return None

    def release(self, ex: Exchange) -> Answer:
        """Return the answer as if it had just come: whoever observes the exchange's stream sees all of it."""
        stream = EventStream(_at_once(self.events), lambda: None)
        for observer in ex.observers:
            stream.tap(observer)
        stream.tap(UsageTap(Outcome(), remove=self.trimmed))
        return ex.keep(Answer(self.answer.status, stream, dict(self.answer.headers)))


async def hold(ex: Exchange, next: Next) -> Answer | HeldStream:
    """Run what follows, with observers of its own, and take in the stream; an answer that is none comes back
    as it is.

    A stream of more than 1 MB is broken off and comes back without its events. Raises what the stream raises.
    """
    twin = ex.branch()
    seen = _Seen()
    twin.observers.append(seen)
    answer = None
    try:
        answer = await next(twin)
        if not isinstance(answer.body, EventStream):
            return answer
        passed = 0
        async for events in answer.body:
            passed += sum(len(event.raw) for event in events)
            if seen.size > _MOST_BYTES:
                answer.close(None)
                return HeldStream([], answer, trimmed=False)
        return HeldStream(seen.events, answer, trimmed=passed != seen.size)
    except BaseException as error:
        if answer is not None:
            answer.close(error)
        raise
    finally:
        twin.end()


async def _at_once(events: Events) -> AsyncIterator[Events]:
    yield events


class _Seen:
    """Keeps what the upstream sends."""

    __slots__ = ("events", "size")

    def __init__(self) -> None:
        self.events: Events = []
        self.size = 0

    def feed(self, events: Events) -> Events:
        self.events += events
        self.size += sum(len(event.raw) for event in events)
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        """The events are there until they are released or dropped."""
