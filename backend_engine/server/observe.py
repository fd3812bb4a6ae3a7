"""What is told about one API request once it is over: metrics, and the spans of its phases."""

from __future__ import annotations

import time
from collections.abc import Sequence

from backend_engine.engine import TokenOutput
from backend_engine.request import Request
from telemetry import names
from telemetry.metrics import EngineMetrics
from telemetry.spans import Span, Tracer


class Observer:
    """Follows one API request; `finish` must be called once, in a `finally`."""

    def __init__(self, metrics: EngineMetrics, tracer: Tracer, span: Span) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._span = span
        self._last: dict[Request, float] = {}
        self._requests: Sequence[Request] = ()

    def begin(self, requests: Sequence[Request]) -> None:
        """Name the sequences that belong to this request."""
        self._requests = requests

    def token(self, output: TokenOutput) -> None:
        """Count one token."""
        self._metrics.generation_tokens.inc()
        now = time.monotonic()
        last = self._last.get(output.request)
        if last is not None:
            self._metrics.inter_token_latency.observe(now - last)
        self._last[output.request] = now

    def finish(self) -> None:
        """Record the phases of every sequence, whether it finished or was cut off."""
        now = time.monotonic()
        for request in self._requests:
            self._count(request, now)
            if self._span.recording:
                self._trace(request, now)

    def _count(self, request: Request, now: float) -> None:
        timings = request.timings
        end = timings.finished or now
        prefilled = timings.first_token or 0.0
        self._metrics.finished(
            request.finish_reason or "abort",
            num_prompt_tokens=request.num_prompt_tokens,
            num_generated_tokens=request.num_output_tokens,
            e2e_s=end - timings.arrived,
            queue_s=timings.scheduled - timings.arrived if timings.scheduled else None,
            ttft_s=prefilled - timings.arrived if prefilled else None,
            prefill_s=prefilled - timings.scheduled if prefilled else None,
            decode_s=timings.last_token - prefilled if prefilled else None,
        )

    def _trace(self, request: Request, now: float) -> None:
        """Record queue, prefill and decode as siblings; a phase that was cut off ends where it was cut."""
        timings = request.timings
        end = timings.finished or now
        sequence = {names.FOREBAY_ENGINE_SEQUENCE: request.sample_index}
        phases: tuple[tuple[str, float, float, dict[str, str | int]], ...] = (
            (names.QUEUE, timings.arrived, timings.scheduled, {}),
            (
                names.PREFILL,
                timings.scheduled,
                timings.first_token,
                {
                    names.FOREBAY_ENGINE_PROMPT_TOKENS: request.num_prompt_tokens,
                    names.FOREBAY_ENGINE_CACHED_TOKENS: request.num_cached,
                    names.FOREBAY_ENGINE_PREFILL_CHUNKS: request.num_prefill_chunks,
                },
            ),
            (
                names.DECODE,
                timings.first_token,
                timings.finished,
                {
                    names.FOREBAY_ENGINE_GENERATED_TOKENS: request.num_output_tokens,
                    names.FOREBAY_ENGINE_PREEMPTIONS: request.num_preemptions,
                    names.FOREBAY_ENGINE_FINISH_REASON: request.finish_reason or "abort",
                },
            ),
        )
        clock = self._tracer.clock
        for name, begin, stop, attributes in phases:
            if begin:
                self._tracer.record(
                    name,
                    parent=self._span,
                    start_ns=clock.at(begin),
                    end_ns=clock.at(stop or end),
                    attributes={**attributes, **sequence},
                )


def server_timing(requests: Sequence[Request]) -> str:
    """Return the phases of a finished answer for the Server-Timing header, in milliseconds.

    Of several sequences the longest of each phase counts: they ran beside one another.
    """
    timings = [request.timings for request in requests]
    phases = {
        names.QUEUE: max(t.scheduled - t.arrived for t in timings),
        names.PREFILL: max(t.first_token - t.scheduled for t in timings),
        names.DECODE: max(t.finished - t.first_token for t in timings),
    }
    return ", ".join(f"{phase};dur={seconds * 1000:.3f}" for phase, seconds in phases.items())
