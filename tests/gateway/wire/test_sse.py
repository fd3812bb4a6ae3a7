from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.sse import Event, EventTooLarge, SseParser, comment_event, data_event

LIMIT = 1 << 20


def parse(*chunks: bytes) -> list[Event]:
    parser = SseParser(LIMIT)
    return [event for chunk in chunks for event in parser.feed(chunk)]


def dispatched(events: list[Event]) -> list[tuple[str, bytes, str | None, int | None]]:
    return [(e.type, e.data, e.id, e.retry_ms) for e in events if e.data is not None]


def reference(stream: bytes) -> list[tuple[str, bytes, str | None, int | None]]:
    """The specification's algorithm, line by line over the whole stream at once."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events = []
    data: list[bytes] = []
    kind, event_id, retry = "message", None, None
    for line in text.split(b"\n")[:-1]:
        if not line:
            if data:
                events.append((kind, b"\n".join(data), event_id, retry))
            data, kind, event_id, retry = [], "message", None, None
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value.decode("utf-8", "replace") or "message"
        elif name == b"id" and b"\0" not in value:
            event_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            retry = int(value)
    return events


line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
line_texts = st.one_of(
    st.sampled_from([b"", b"data", b"data:", b"data: x", b"data:  two spaces", "data: Grüße 🌊".encode()]),
    st.sampled_from([b": comment", b":", b"event: ping", b"event:", b"id: 7", b"id: \0"]),
    st.sampled_from([b"retry: 250", b"retry: soon", b"unknown: field"]),
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"")),
)
streams = st.builds(
    lambda bom, lines: bom + b"".join(text + end for text, end in lines),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(line_texts, line_ends), max_size=20),
)


def cut(data: st.DataObject, stream: bytes) -> list[bytes]:
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted), label="cuts")
    edges = [0, *places, len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@given(streams, st.data())
def test_agrees_with_the_specification_however_the_stream_is_cut(stream: bytes, data: st.DataObject) -> None:
    # A blank line at the very end may be CR waiting for its LF, which the reference cannot know of.
    assert dispatched(parse(*cut(data, stream))) == reference(stream)


@given(streams, st.data())
def test_no_byte_is_lost_or_changed(stream: bytes, data: st.DataObject) -> None:
    parser = SseParser(LIMIT)
    raw = b"".join(event.raw for chunk in cut(data, stream) for event in parser.feed(chunk))
    assert raw + parser.rest() == stream


@given(streams)
def test_one_byte_at_a_time_is_the_same(stream: bytes) -> None:
    assert dispatched(parse(*(bytes([byte]) for byte in stream))) == dispatched(parse(stream))


def test_an_event_is_out_with_its_last_byte() -> None:
    parser = SseParser(LIMIT)
    assert parser.feed(b"data: one\n") == []
    assert [event.data for event in parser.feed(b"\n")] == [b"one"]
    # CR CR: whether an LF follows is not waited for.
    assert [event.data for event in parser.feed(b"data: two\r\r")] == [b"two"]
    assert [event.data for event in parser.feed(b"\ndata: three\n\n")] == [b"three"]


def test_data_lines_are_joined() -> None:
    assert parse(b"data: a\ndata:b\ndata\n\n")[0].data == b"a\nb\n"


def test_an_unfinished_event_is_not_dispatched() -> None:
    parser = SseParser(LIMIT)
    assert parser.feed(b"data: half\n") == []
    assert parser.rest() == b"data: half\n"


def test_the_byte_order_mark_counts_only_at_the_start() -> None:
    mark = b"\xef\xbb\xbf"
    events = parse(mark + b"data: 1\n\n" + mark + b"data: 2\n\n")
    assert [event.data for event in events] == [b"1", None]


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_an_event_without_end_is_refused(chunk: int) -> None:
    parser = SseParser(100)
    with pytest.raises(EventTooLarge):
        for _ in range(101):
            parser.feed(b"x" * chunk)


def test_a_complete_event_over_the_bound_is_refused_too() -> None:
    with pytest.raises(EventTooLarge):
        SseParser(10).feed(b"data: 0123456789\n\n")


@pytest.mark.parametrize("bad", [b"data: 0123456789\n\n", b"data: 0123456789"])
def test_events_before_one_that_is_too_large_are_not_lost(bad: bytes) -> None:
    with pytest.raises(EventTooLarge) as refused:
        SseParser(12).feed(b"data: 1\n\ndata: 2\n\n" + bad)
    assert [event.data for event in refused.value.before] == [b"1", b"2"]


def test_the_bound_is_for_one_event_and_not_for_a_chunk() -> None:
    assert len(SseParser(12).feed(b"data: 1\n\n" * 100)) == 100


def test_events_of_our_own_read_back() -> None:
    assert parse(data_event(b"{}").raw)[0] == data_event(b"{}")
    assert parse(comment_event(b"forebay {}").raw) == [Event(b": forebay {}\n\n")]
