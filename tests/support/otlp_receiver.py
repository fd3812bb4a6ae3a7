"""A small collector for tests: takes OTLP/HTTP protobuf on loopback and gives back span trees.

async with OtlpReceiver() as collector:
    ...  # start real processes with otlp_endpoint=collector.url
    trace = await collector.wait_for_trace(trace_id, {"POST /v1/chat/completions", "chat smollm2"})
    assert trace.tree() == ["POST /v1/chat/completions", "  chat smollm2"]
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """One span as a collector sees it."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    start_ns: int
    end_ns: int
    failed: bool
    message: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    state: str

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(slots=True)
class SeenTrace:
    """All spans of one trace that have come in."""

    trace_id: str
    spans: list[SeenSpan] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def find(self, name: str, *, kind: str | None = None, service: str | None = None) -> SeenSpan:
        """Return the one span of that name (and kind, and service); anything else is a failed test."""
        found = [
            span
            for span in self.spans
            if span.name == name and kind in (None, span.kind) and service in (None, span.service)
        ]
        assert len(found) == 1, f"{len(found)} spans called {name!r} in\n{self}"
        return found[0]

    def roots(self) -> list[SeenSpan]:
        """Return the spans whose parent has not come in (or that have none)."""
        ids = {span.span_id for span in self.spans}
        return sorted((s for s in self.spans if s.parent_id not in ids), key=lambda span: span.start_ns)

    def children(self, parent: SeenSpan) -> list[SeenSpan]:
        """Return the spans directly under `parent`, by start time."""
        return sorted(
            (span for span in self.spans if span.parent_id == parent.span_id),
            key=lambda span: (span.start_ns, span.end_ns),
        )

    def tree(self) -> list[str]:
        """Return the names, indented by two spaces a level, siblings by start time."""
        return [f"{'  ' * depth}{span.name}" for depth, span in self._walk()]

    def _walk(self) -> Iterator[tuple[int, SeenSpan]]:
        stack = [(0, span) for span in reversed(self.roots())]
        while stack:
            depth, span = stack.pop()
            yield depth, span
            stack += [(depth + 1, child) for child in reversed(self.children(span))]

    def __str__(self) -> str:
        lines = [
            f"{'  ' * depth}{span.name} [{span.kind} {span.service}] {span.duration_s * 1e3:.2f} ms"
            f"{' FAILED ' + span.message if span.failed else ''} {span.attributes}"
            for depth, span in self._walk()
        ]
        return "\n".join([f"trace {self.trace_id}", *lines])


class OtlpReceiver:
    """An OTLP/HTTP collector on a free loopback port; `status` makes it refuse, `hold` makes it hang."""

    def __init__(self) -> None:
        self.traces: dict[str, SeenTrace] = {}
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.posts = 0
        self.status = 200
        self.hold: asyncio.Event | None = None
        self.url = ""
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.hold is not None:
            self.hold.set()
        await self._runner.cleanup()

    async def wait_for(self, happened: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until `happened()` is true; it is asked again after each post."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(happened)

    async def wait_for_trace(
        self,
        trace_id: str,
        expected: Collection[str] | Callable[[SeenTrace], bool],
        timeout: float = 10.0,
    ) -> SeenTrace:
        """Return the trace once it holds the expected span names, or once `expected(trace)` is true."""

        def complete() -> bool:
            trace = self.traces.get(trace_id)
            if trace is None:
                return False
            return expected(trace) if callable(expected) else set(expected) <= set(trace.names)

        try:
            await self.wait_for(complete, timeout)
        except TimeoutError:
            seen = self.traces.get(trace_id)
            others = "" if seen else f"; other traces: {[t.names for t in self.traces.values()]}"
            raise AssertionError(
                f"trace {trace_id} is not complete after {timeout} s: {seen}{others}"
            ) from None
        return self.traces[trace_id]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.hold is not None:
            await self.hold.wait()
        async with self._changed:
            self.posts += 1
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            if self.status == 200:
                assert request.content_type == "application/x-protobuf"
                self._store(ExportTraceServiceRequest.FromString(body))
            self._changed.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, status=self.status, content_type="application/x-protobuf")

    def _store(self, message: ExportTraceServiceRequest) -> None:
        for of_resource in message.resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            self.resources.append(resource)
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    seen = _seen(span, str(resource.get("service.name", "")))
                    self.traces.setdefault(seen.trace_id, SeenTrace(seen.trace_id)).spans.append(seen)


def _seen(span: Span, service: str) -> SeenSpan:
    return SeenSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=KINDS[span.kind],
        service=service,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        message=span.status.message,
        attributes=_attributes(span.attributes),
        events=[(event.name, _attributes(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        state=span.trace_state,
    )


def _attributes(pairs: Collection[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)
