"""What one span costs: ours, the OpenTelemetry SDK with its batch processor, and no tracing, in one run.

A span here is a start under a parent, ten attributes in one dict and an end. Figures are microseconds of CPU
per span: `request_path` in the thread that answers requests, `process` in its whole process (for the SDK that
includes its exporter thread, which holds the same interpreter lock), `elsewhere` in our exporter process.
Nothing is posted or written to a pipe: what is measured is our work, not a collector's speed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import cyclopts
import msgspec
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind, set_span_in_context

from benchmarks import report
from telemetry.export import BATCH_SPANS
from telemetry.otlp import readable
from telemetry.records import SpanRecord, frame
from telemetry.spans import Kind, NullTracer, RecordedSpan, Span, Tracer

Cost = dict[str, float]

ATTRIBUTES: dict[str, str | int | float | bool] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "forebay",
    "gen_ai.request.model": "smollm2",
    "gen_ai.request.stream": True,
    "gen_ai.request.temperature": 0.7,
    "gen_ai.response.id": "chatcmpl-0123456789abcdef",
    "gen_ai.usage.input_tokens": 650,
    "gen_ai.usage.output_tokens": 128,
    "server.address": "127.0.0.1",
    "server.port": 8081,
}


def ours(tracer: Tracer, parent: Span, spans: int) -> Callable[[], None]:
    """Return the work of `spans` spans of ours."""

    def work() -> None:
        for _ in range(spans):
            span = tracer.start("chat smollm2", kind=Kind.CLIENT, parent=parent)
            span.update(ATTRIBUTES)
            span.end()

    return work


def recorded(spans: int) -> Cost:
    """Measure spans that are recorded, handed over and encoded for the collector."""
    made: list[RecordedSpan] = []
    tracer = Tracer(made.append)
    path = _cpu(ours(tracer, tracer.start("parent"), spans), time.thread_time)
    batches = [made[at : at + BATCH_SPANS] for at in range(0, len(made), BATCH_SPANS)]
    frames: list[bytes] = []
    handing_over = _cpu(lambda: frames.extend(frame(batch)[0] for batch in batches), time.thread_time)
    decode = msgspec.msgpack.Decoder(list[SpanRecord]).decode
    resource = Resource.create()

    def export() -> None:
        for data in frames:
            encode_spans([readable(record, resource) for record in decode(data[4:])]).SerializeToString()

    elsewhere = _cpu(export, time.thread_time)
    return _per_span(spans, request_path=path, process=path + handing_over, elsewhere=elsewhere)


def unrecorded(tracer: Tracer, spans: int) -> Cost:
    """Measure spans of a trace that is not sampled, or of a tracer that is off."""
    path = _cpu(ours(tracer, tracer.start("parent"), spans), time.thread_time)
    return _per_span(spans, request_path=path, process=path)


class _Encode(SpanExporter):
    """Does what the OTLP exporter does, up to the post."""

    def export(self, spans: object) -> SpanExportResult:
        encode_spans(spans).SerializeToString()  # type: ignore[arg-type]
        return SpanExportResult.SUCCESS


def sdk(spans: int, *, sampled: bool) -> Cost:
    """Measure the SDK in the form that costs least: `start_span`, explicit context, attributes at start."""
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Encode(), max_queue_size=2 * spans))
    tracer = provider.get_tracer("bench")
    context = set_span_in_context(tracer.start_span("parent"))
    path = 0.0

    def work() -> None:
        for _ in range(spans):
            tracer.start_span(
                "chat smollm2", context=context, kind=SpanKind.CLIENT, attributes=ATTRIBUTES
            ).end()

    def work_and_export() -> None:
        nonlocal path
        path = _cpu(work, time.thread_time)
        provider.force_flush()

    process = _cpu(work_and_export, time.process_time)
    provider.shutdown()
    return _per_span(spans, request_path=path, process=process)


def no_tracing(spans: int) -> Cost:
    """Measure the loop without any span."""

    def work() -> None:
        for _ in range(spans):
            pass

    path = _cpu(work, time.thread_time)
    return _per_span(spans, request_path=path, process=path)


def bench(
    *,
    spans: int = 10_000,
    rounds: int = 5,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Measure what one span costs.

    Parameters
    ----------
    spans: spans in one round.
    rounds: rounds of every system, one after the other; the best of each figure counts.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    systems: dict[str, Callable[[], Cost]] = {
        "forebay": lambda: recorded(spans),
        "not-sampled": lambda: unrecorded(Tracer(lambda span: None, sample=0.0), spans),
        "off": lambda: unrecorded(NullTracer(), spans),
        "no-tracing": lambda: no_tracing(spans),
        "otel-sdk": lambda: sdk(spans, sampled=True),
        "otel-not-sampled": lambda: sdk(spans, sampled=False),
    }
    best: dict[str, Cost] = {}
    for _ in range(rounds):
        for name, measure in systems.items():
            cost = measure()
            best[name] = {key: min(value, best.get(name, cost)[key]) for key, value in cost.items()}
    figures = best.pop("forebay")
    # Only like is compared with like: recorded spans with recorded spans.
    ratios = report.ratios(figures, {"otel-sdk": best["otel-sdk"]}, higher_is_better=set())
    report.publish("telemetry_cost", machine, figures, best, ratios, as_json=json_)


def _cpu(work: Callable[[], None], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun


def _per_span(spans: int, **seconds: float) -> Cost:
    return {f"{name}_us": round(value / spans * 1e6, 3) for name, value in seconds.items()}


if __name__ == "__main__":
    cyclopts.run(bench)
