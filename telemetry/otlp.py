"""Turns span records into the OpenTelemetry SDK's spans, which its exporter encodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from telemetry.context import TraceContext
from telemetry.records import SpanRecord
from telemetry.spans import Kind
from telemetry.version import __version__

# Model names and error texts come from outside; a collector refuses a request that is too large as a whole.
MAX_ATTRIBUTES = 128
MAX_VALUE_CHARS = 4096
MAX_NAME_CHARS = 256

_SCOPE = InstrumentationScope("forebay", __version__)
_KINDS = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
}


def readable(record: SpanRecord, resource: Resource) -> ReadableSpan:
    """Return `record` as the SDK's finished span."""
    error = record.error
    status = (
        Status(StatusCode.UNSET)
        if error is None
        else Status(StatusCode.ERROR, error[:MAX_VALUE_CHARS] or None)
    )
    return ReadableSpan(
        record.name[:MAX_NAME_CHARS],
        context=_context(record.context, is_remote=False),
        parent=_context(record.parent, record.parent_is_remote) if record.parent else None,
        resource=resource,
        attributes=_attributes(record.attributes),
        events=[Event(name, _attributes(attributes), at) for at, name, attributes in record.events or ()],
        links=[Link(_context(link, is_remote=True)) for link in record.links or ()],
        kind=_KINDS[Kind(record.kind)],
        status=status,
        start_time=record.start_ns,
        end_time=record.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(context: TraceContext, is_remote: bool) -> SpanContext:
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote, TraceFlags(context.flags), state
    )


def _attributes(attributes: Mapping[str, Any]) -> BoundedAttributes:
    fitting = {key: _fitting(value) for key, value in attributes.items()}
    return BoundedAttributes(MAX_ATTRIBUTES, fitting, max_value_len=MAX_VALUE_CHARS)


def _fitting(value: Any) -> Any:
    # OTLP's integers have 64 bits and a sign. One that has not would cost the whole request, and some are
    # a client's own words, such as its seed.
    return str(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value
