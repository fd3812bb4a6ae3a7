"""Spans as slots records. Filling one costs a few microseconds; everything dear happens elsewhere.

    Tracer.start ──▶ RecordedSpan ──end()──▶ sink (telemetry.export) ──pipe──▶ exporter process ──▶ OTLP

A `Span` that is not recorded takes every call and does nothing, so callers never ask whether tracing is on
(unless preparing the attributes costs something: then they look at `span.recording`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TypeAlias

from telemetry.clock import Clock
from telemetry.context import INVALID, SAMPLED, TraceContext, new_span_id, new_trace_id
from telemetry.names import ERROR_TYPE

AttributeValue: TypeAlias = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[float]
Attributes: TypeAlias = Mapping[str, AttributeValue]

MAX_EVENTS = 128
MAX_LINKS = 128


class Kind(IntEnum):
    """What a span is to its neighbours; the numbers are OTLP's."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Span:
    """A span that is not recorded: it carries the trace's context and does nothing else."""

    __slots__ = ("context",)
    recording = False

    def __init__(self, context: TraceContext) -> None:
        self.context = context
        """What goes to the next process; not `valid` if tracing is off."""

    def set(self, key: str, value: AttributeValue) -> None:
        """Set one attribute."""

    def update(self, attributes: Attributes) -> None:
        """Set many attributes: cheaper than one at a time."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Note that something happened now."""

    def link(self, context: TraceContext) -> None:
        """Point to a span of another trace, or to one that is not an ancestor."""

    def fail(self, error_type: str, message: str | None = None) -> None:
        """Mark the span as failed; `error_type` is one of a few names, `message` never holds content."""

    def end(self, end_ns: int | None = None) -> None:
        """End the span and hand it over; only the first call counts."""


class RecordedSpan(Span):
    """A span on its way to the collector. Attributes, events and status are fixed once it has ended."""

    __slots__ = (
        "_clock",
        "_sink",
        "attributes",
        "end_ns",
        "error",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "parent_is_remote",
        "start_ns",
    )
    recording = True

    def __init__(
        self,
        name: str,
        kind: Kind,
        context: TraceContext,
        parent: TraceContext | None,
        parent_is_remote: bool,
        start_ns: int,
        clock: Clock,
        sink: Callable[[RecordedSpan], None],
    ) -> None:
        self.context = context
        self.name = name
        self.kind = kind
        self.parent = parent
        self.parent_is_remote = parent_is_remote
        self.start_ns = start_ns
        self.end_ns = 0
        self.attributes: dict[str, AttributeValue] = {}
        self.events: list[tuple[int, str, Attributes]] | None = None
        self.links: list[TraceContext] | None = None
        self.error: str | None = None
        self._clock = clock
        self._sink = sink

    def set(self, key: str, value: AttributeValue) -> None:
        if not self.end_ns:
            self.attributes[key] = value

    def update(self, attributes: Attributes) -> None:
        if not self.end_ns:
            self.attributes.update(attributes)

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        if self.end_ns:
            return
        if self.events is None:
            self.events = []
        if len(self.events) < MAX_EVENTS:
            self.events.append((self._clock.now(), name, dict(attributes) if attributes else {}))

    def link(self, context: TraceContext) -> None:
        if self.end_ns or not context.valid:
            return
        if self.links is None:
            self.links = []
        if len(self.links) < MAX_LINKS:
            self.links.append(context)

    def fail(self, error_type: str, message: str | None = None) -> None:
        if not self.end_ns:
            self.attributes[ERROR_TYPE] = error_type
            self.error = message or ""

    def end(self, end_ns: int | None = None) -> None:
        if self.end_ns:
            return
        self.end_ns = max(self.start_ns, self._clock.now() if end_ns is None else end_ns)
        self._sink(self)


class Tracer:
    """Starts spans. Sampling is parent-based: a caller's decision holds, a new trace's id decides."""

    __slots__ = ("_bound", "_sink", "clock")
    enabled = True

    def __init__(
        self, sink: Callable[[RecordedSpan], None], sample: float = 1.0, clock: Clock | None = None
    ) -> None:
        """`sample` is the share of new traces to record; `sink` takes each span when it ends."""
        if not 0.0 <= sample <= 1.0:
            raise ValueError(f"sample must be between 0 and 1, not {sample}")
        self.clock = clock or Clock()
        self._sink = sink
        # The low 56 bits of an id are the ones that level 2 of the trace context promises to be random.
        self._bound = round(sample * (1 << 56))

    def start(
        self,
        name: str,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: Span | TraceContext | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """Start a span under a local span, under another process's context, or as a new trace."""
        if isinstance(parent, Span):
            if not parent.recording:
                # The whole trace is off, or not sampled: its one context says so to whoever comes after.
                return parent
            above, remote = parent.context, False
        elif parent is not None:
            if not parent.sampled:
                return Span(parent)
            above, remote = parent, True
        else:
            return self._root(name, kind, start_ns)
        return RecordedSpan(
            name,
            kind,
            TraceContext(above.trace_id, new_span_id(), above.flags, above.state),
            above,
            remote,
            self.clock.now() if start_ns is None else start_ns,
            self.clock,
            self._sink,
        )

    def _root(self, name: str, kind: Kind, start_ns: int | None) -> Span:
        trace_id = new_trace_id()
        # The `random` flag stays off in traces of our own: some receivers refuse flags they do not know.
        if int(trace_id[18:], 16) >= self._bound:
            return Span(TraceContext(trace_id, new_span_id(), 0))
        context = TraceContext(trace_id, new_span_id(), SAMPLED)
        start_ns = self.clock.now() if start_ns is None else start_ns
        return RecordedSpan(name, kind, context, None, False, start_ns, self.clock, self._sink)

    def record(
        self,
        name: str,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: Span | TraceContext | None,
        start_ns: int,
        end_ns: int,
        attributes: Attributes | None = None,
    ) -> Span:
        """Record a span whose times are already known, such as a phase that was only stamped."""
        span = self.start(name, kind=kind, parent=parent, start_ns=start_ns)
        # Without a recorded parent, `start` may hand back the parent itself, which is not ours to end.
        if span.recording:
            if attributes:
                span.update(attributes)
            span.end(end_ns)
        return span


NOOP_SPAN = Span(INVALID)


class NullTracer(Tracer):
    """Tracing that is off: every span is one shared object."""

    __slots__ = ()
    enabled = False

    def __init__(self) -> None:
        super().__init__(lambda span: None, 0.0)

    def start(
        self,
        name: str,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: Span | TraceContext | None = None,
        start_ns: int | None = None,
    ) -> Span:
        return NOOP_SPAN

    def record(
        self,
        name: str,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: Span | TraceContext | None,
        start_ns: int,
        end_ns: int,
        attributes: Attributes | None = None,
    ) -> Span:
        return NOOP_SPAN
