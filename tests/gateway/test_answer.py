from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.answer import Answer, BrokenOff, Events, EventStream
from gateway.errors import ClientDisconnected, UpstreamBroke
from gateway.wire.sse import Event


def event(text: str) -> Event:
    return Event(text.encode(), text.encode())


class Note:
    """A tap that writes down what it sees."""

    def __init__(self, last: str | None = None, drop: str | None = None) -> None:
        self.seen: list[bytes] = []
        self.endings: list[BaseException | None] = []
        self._last = last
        self._drop = drop

    def feed(self, events: Events) -> Events:
        self.seen += [event.raw for event in events]
        return [event for event in events if event.raw != (self._drop or "").encode()]

    def finish(self) -> Events:
        return [event(self._last)] if self._last else []

    def ended(self, error: BaseException | None) -> None:
        self.endings.append(error)


class Source:
    """Batches of events, then an error if there is one."""

    def __init__(self, *batches: str, error: Exception | None = None) -> None:
        self._batches = iter(batches)
        self._error = error
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[Events]:
        return self

    async def __anext__(self) -> Events:
        for batch in self._batches:
            return [event(char) for char in batch]
        if self._error:
            raise self._error
        raise StopAsyncIteration

    def close(self) -> None:
        self.closed += 1


def stream(source: Source, *taps: Note) -> EventStream:
    made = EventStream(source, source.close)
    for tap in taps:
        made.tap(tap)
    return made


async def text(events: EventStream) -> str:
    return "".join([event.raw.decode() async for batch in events for event in batch])


async def test_taps_see_every_event_and_the_end_once() -> None:
    source, tap = Source("ab", "c"), Note()
    assert await text(stream(source, tap)) == "abc"
    assert tap.seen == [b"a", b"b", b"c"] and tap.endings == [None] and source.closed == 1


async def test_what_a_tap_drops_or_adds_the_next_one_sees() -> None:
    first, second = Note(last="z", drop="b"), Note()
    assert await text(stream(Source("abc"), first, second)) == "acz"
    assert second.seen == [b"a", b"c", b"z"]


async def test_a_batch_that_is_swallowed_whole_is_skipped() -> None:
    events = stream(Source("b", "b", "a"), Note(drop="b"))
    assert [batch[0].raw async for batch in events] == [b"a"]


async def test_an_error_of_the_source_is_told_to_all_taps() -> None:
    error = UpstreamBroke("It broke off.")
    source, tap = Source("a", error=error), Note()
    events = stream(source, tap)
    await anext(events)
    with pytest.raises(UpstreamBroke):
        await anext(events)
    assert tap.endings == [error] and source.closed == 1
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_an_error_of_a_tap_ends_the_stream() -> None:
    class Broken(Note):
        def feed(self, events: Events) -> Events:
            raise ValueError

    source, note = Source("a"), Note()
    with pytest.raises(ValueError, match=r"^$"):
        await text(stream(source, Broken(), note))
    assert isinstance(note.endings[0], ValueError) and source.closed == 1


@pytest.mark.parametrize("primed", [False, True])
async def test_what_came_before_the_break_still_goes_out(primed: bool) -> None:
    error = UpstreamBroke("It made no sense.")

    class Breaking(Note):
        def feed(self, events: Events) -> Events:
            raise BrokenOff(events[:1], error)

    source, note = Source("ab", "c"), Note()
    events = stream(source, Breaking(), note)
    if primed:
        assert await events.prime()
    assert [event.raw for event in await anext(events)] == [b"a"]
    with pytest.raises(UpstreamBroke):
        await anext(events)
    assert note.seen == [b"a"] and note.endings == [error] and source.closed == 1


async def test_a_break_with_nothing_before_it_ends_the_stream_at_once() -> None:
    class Breaking(Note):
        def feed(self, events: Events) -> Events:
            raise BrokenOff([], UpstreamBroke("It made no sense."))

    with pytest.raises(UpstreamBroke):
        await stream(Source("ab"), Breaking()).prime()


async def test_closing_early_says_why_and_only_once() -> None:
    source, tap = Source("a"), Note()
    answer = Answer(200, stream(source, tap))
    gone = ClientDisconnected()
    answer.close(gone)
    answer.close(None)
    assert tap.endings == [gone] and source.closed == 1


async def test_a_stream_that_was_never_read_is_closed_all_the_same() -> None:
    source = Source("a")
    stream(source).close(None)
    assert source.closed == 1


async def test_priming_waits_for_the_first_batch_and_keeps_it() -> None:
    first, later = Note(), Note(last="!")
    events = stream(Source("ab", "c"), first)
    assert await events.prime()
    assert first.seen == [b"a", b"b"]
    events.tap(later)
    assert await text(events) == "abc!"
    # Each tap has seen all of it, whenever it was added.
    assert first.seen == later.seen == [b"a", b"b", b"c"]


async def test_priming_an_empty_stream() -> None:
    assert not await stream(Source()).prime()


async def test_an_error_while_priming_closes_the_stream() -> None:
    source, tap = Source(error=UpstreamBroke("")), Note()
    with pytest.raises(UpstreamBroke):
        await stream(source, tap).prime()
    assert source.closed == 1 and isinstance(tap.endings[0], UpstreamBroke)


async def test_a_whole_body_has_nothing_to_close() -> None:
    Answer(200, b"").close(None)
