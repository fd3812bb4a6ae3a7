"""Incremental parser of server-sent events that keeps every event's own bytes.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

Invariant: the `raw` of all events returned so far, followed by `rest()`, is exactly what was fed. So a proxy
can look into a stream and still forward it byte for byte. A block that only holds comments or blank lines is
an event too, without data.
"""

from __future__ import annotations

import re

import msgspec

# A blank line, which ends an event. The atomic groups keep CR LF from being taken for two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
UNFINISHED = ""
"""The type of a block that the end of the stream cut off; an event's own type is never empty."""
# More than this is not copied anew for every chunk that is added to it.
_COPIED = 4096
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event grew past the parser's bound; `before` are the events that were complete ahead of it."""

    def __init__(self, max_event_bytes: int, before: list[Event]) -> None:
        super().__init__(f"an event is larger than {max_event_bytes} bytes")
        self.before = before


class Event(msgspec.Struct, gc=False):
    """One block of the stream. `data` is None if it has no data field, and such a block is not dispatched."""

    raw: bytes
    data: bytes | None = None
    type: str = "message"
    id: str | None = None
    retry_ms: int | None = None


class SseParser:
    """Cuts a byte stream, split anywhere, into events."""

    __slots__ = ("_begun", "_max_event_bytes", "_pending", "_scanned")

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()
        # Bytes of `_pending` known to hold no blank line; all but the last few, which may begin one.
        self._scanned = 0
        self._begun = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes. Raises EventTooLarge."""
        pending = self._pending
        if self._begun and b"\r" not in chunk and len(pending) <= _COPIED and b"\r" not in pending:
            return self._cut(bytes(pending) + chunk)
        pending += chunk
        events: list[Event] = []
        start = 0
        search = self._scanned
        while match := _BLANK_LINE.search(pending, search):
            end = search = match.end()
            if end - start > self._max_event_bytes:
                raise EventTooLarge(self._max_event_bytes, events)
            events.append(self._event(bytes(pending[start:end])))
            start = end
        if start:
            del pending[:start]
        if len(pending) > self._max_event_bytes:
            raise EventTooLarge(self._max_event_bytes, events)
        # A blank line is at most CR LF CR LF: three of its bytes may already be here.
        self._scanned = max(0, len(pending) - 3)
        return events

    def _cut(self, text: bytes) -> list[Event]:
        """Do the same where every line ends in LF alone, as nearly all streams are written: no search."""
        events: list[Event] = []
        blocks = text.split(b"\n\n")
        rest = blocks.pop()
        most = self._max_event_bytes
        for block in blocks:
            raw = block + b"\n\n"
            if len(raw) > most:
                raise EventTooLarge(most, events)
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(Event(raw, block[6:]))
            else:
                events.append(_parse(raw, raw))
        self._pending[:] = rest
        if len(rest) > most:
            raise EventTooLarge(most, events)
        self._scanned = max(0, len(rest) - 3)
        return events

    def rest(self) -> bytes:
        """Return the bytes of an event that is not complete; at the end of a stream it never will be."""
        return bytes(self._pending)

    def _event(self, raw: bytes) -> Event:
        text = raw
        if not self._begun:
            self._begun = True
            text = raw.removeprefix(_BOM)
        return _parse(raw, text)


def _parse(raw: bytes, text: bytes) -> Event:
    # What almost every event of an OpenAI stream looks like: one data line.
    if text.startswith(b"data: ") and text.endswith(b"\n\n") and text.find(b"\n") == len(text) - 2:
        line = text[6:-2]
        if b"\r" not in line:
            return Event(raw, line)
    event = Event(raw)
    data: list[bytes] = []
    for line in _LINE_END.split(text):
        if not line or line.startswith(b":"):
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event.type = value.decode("utf-8", "replace") or "message"
        elif name == b"id":
            if b"\0" not in value:
                event.id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            event.retry_ms = int(value)
    if data:
        event.data = b"\n".join(data)
    return event


def data_event(data: bytes) -> Event:
    """Return an event of our own that carries `data`, which holds no line end."""
    return Event(b"data: " + data + b"\n\n", data)


def comment_event(text: bytes) -> Event:
    """Return a comment, which clients skip; `text` holds no line end."""
    return Event(b": " + text + b"\n\n")
