"""The frames between a process that makes spans and its exporter process.

A frame is a 4-byte big-endian length and a msgpack array of `SpanRecord`s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from telemetry.context import TraceContext
from telemetry.spans import RecordedSpan

MAX_FRAME_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")


class SpanRecord(msgspec.Struct, array_like=True, frozen=True):
    """One finished span."""

    name: str
    kind: int
    context: TraceContext
    parent: TraceContext | None
    parent_is_remote: bool
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[tuple[int, str, dict[str, Any]]] | None
    links: list[TraceContext] | None
    error: str | None
    """None: fine. A text, possibly empty: failed."""


_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_decoder = msgspec.msgpack.Decoder(list[SpanRecord])


def frame(spans: Sequence[RecordedSpan]) -> tuple[bytes, int]:
    """Return the frame of `spans` and how many of them could not be packed.

    Attribute values come from requests, so they can hold what msgpack cannot (a lone surrogate, an integer
    over 64 bits); such a span is left out rather than taking its neighbours with it.
    """
    try:
        body, lost = _encoder.encode([_row(span) for span in spans]), 0
    except (UnicodeError, OverflowError, TypeError, ValueError):
        rows = [row for span in spans if (row := _raw_row(span)) is not None]
        body, lost = _encoder.encode(rows), len(spans) - len(rows)
    return _LENGTH.pack(len(body)) + body, lost


def read_frames(pipe: BinaryIO) -> Iterator[list[SpanRecord]]:
    """Yield batches until the pipe closes or breaks off in the middle of one."""
    while len(head := pipe.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        if length > MAX_FRAME_BYTES:
            return
        body = pipe.read(length)
        if len(body) < length:
            return
        yield _decoder.decode(body)


def _row(span: RecordedSpan) -> tuple[object, ...]:
    return (
        span.name,
        span.kind,
        span.context,
        span.parent,
        span.parent_is_remote,
        span.start_ns,
        span.end_ns,
        span.attributes,
        span.events,
        span.links,
        span.error,
    )


def _raw_row(span: RecordedSpan) -> msgspec.Raw | None:
    try:
        return msgspec.Raw(_encoder.encode(_row(span)))
    except (UnicodeError, OverflowError, TypeError, ValueError):
        return None
