"""What travels back through the hops: a whole body, or a stream of server-sent events that hops may tap.

A tap sees every event once, already parsed, and may hold back, drop or add events; what it leaves alone goes
to the client as the upstream's own bytes. Whoever ends up holding an `Answer` closes it, whatever happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gateway.cache_state import SemanticHit
from gateway.wire.sse import Event
from semantic_cache.entry import Entry

Events: TypeAlias = list[Event]


class BrokenOff(Exception):
    """A tap ends the stream in the middle of what it was fed: `events` still go to the client."""

    def __init__(self, events: Events, error: Exception) -> None:
        super().__init__()
        self.events = events
        self.error = error


class Tap(Protocol):
    """Watches or changes a stream on its way to the client."""

    def feed(self, events: Events) -> Events:
        """Take the events that have just come in and return the ones to pass on.

        May raise to end the stream: BrokenOff if some events are still good.
        """

    def finish(self) -> Events:
        """Return what is still to be sent when the source has come to its end; may raise as well."""

    def ended(self, error: BaseException | None) -> None:
        """Take note that nothing more will come: None after a complete stream. Called exactly once."""


class EventStream:
    """Batches of events from a source, through the taps in the order they were added."""

    __slots__ = ("_broken", "_close_source", "_over", "_primed", "_source", "_taps")

    def __init__(self, source: AsyncIterator[Events], close_source: Callable[[], None]) -> None:
        """`close_source` frees what the source holds at once; it may be called at any time."""
        self._source = source
        self._close_source = close_source
        self._taps: list[Tap] = []
        # The first batch and how many taps have seen it already.
        self._primed: tuple[Events, int] | None = None
        # What is to be raised once the events before it have been handed out.
        self._broken: Exception | None = None
        self._over = False

    def tap(self, tap: Tap) -> None:
        """Add a tap behind the ones that are there."""
        self._taps.append(tap)

    async def prime(self) -> bool:
        """Wait for the first batch, so that a failure before it can still become an ordinary error answer.

        Returns whether there was one.
        """
        try:
            async for events in self._source:
                if events := self._through(events, 0):
                    self._primed = events, len(self._taps)
                    return True
        except BaseException as error:
            self.close(error)
            raise
        return False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Events:
        if self._over:
            raise StopAsyncIteration
        try:
            if self._primed is not None:
                (events, seen), self._primed = self._primed, None
                if events := self._through(events, seen):
                    return events
            if self._broken is not None:
                raise self._broken
            async for events in self._source:
                if events := self._through(events, 0):
                    return events
            events = self._finish()
        except BaseException as error:
            self.close(error)
            raise
        self.close(None)
        if not events:
            raise StopAsyncIteration
        return events

    def _through(self, events: Events, first_tap: int) -> Events:
        for tap in self._taps[first_tap:] if first_tap else self._taps:
            try:
                events = tap.feed(events)
            except BrokenOff as broken:
                self._broken, events = broken.error, broken.events
        if self._broken is not None and not events:
            raise self._broken
        return events

    def _finish(self) -> Events:
        events: Events = []
        for tap in self._taps:
            if events:
                events = tap.feed(events)
            events = events + tap.finish()
        return events

    def close(self, error: BaseException | None) -> None:
        """Free the source and tell the taps why; later calls do nothing."""
        if self._over:
            return
        self._over = True
        self._close_source()
        for tap in self._taps:
            tap.ended(error)


@dataclass(slots=True)
class Answer:
    """What the client gets: status, our headers and those let through, and a body or a stream."""

    status: int
    body: bytes | EventStream
    headers: dict[str, str] = field(default_factory=dict)
    hit: SemanticHit | None = None
    """Set if it is the stored answer of another question."""
    stored: Entry | None = None
    """Set if it is a stored answer."""

    def close(self, error: BaseException | None) -> None:
        """Free what the answer holds; `error` says why if it was not sent to its end."""
        if isinstance(self.body, EventStream):
            self.body.close(error)
