"""Calls the upstream that the route names, under the `chat MODEL` span that lasts to the last byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from gateway.answer import Answer, Events, EventStream
from gateway.errors import HopFailed, UpstreamBroke
from gateway.exchange import Call, Exchange
from gateway.pipeline import Next
from gateway.upstreams.base import Upstream, UpstreamRequest
from gateway.wire.errors import cause_of
from gateway.wire.headers import to_upstream
from gateway.wire.logprobs import ask_for_logprobs
from gateway.wire.request import outgoing
from gateway.wire.usage import UsageTap, read_answer
from semantic_cache.directives import BODY_FIELD
from telemetry import names
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Kind, Span, Tracer

_ERROR_EVENT = "error_event"


class CallUpstream:
    """The last hop."""

    name = "upstream"

    def __init__(self, upstreams: Mapping[str, Upstream], tracer: Tracer, metrics: GatewayMetrics) -> None:
        self._upstreams = upstreams
        self._tracer = tracer
        self._metrics = metrics

    async def run(self, ex: Exchange, next: Next) -> Answer:
        if ex.view is None or ex.route is None:
            raise HopFailed("The upstream was called before the request was read and routed.")
        upstream = self._upstreams[ex.route.target.upstream]
        call = Call(upstream.name, ex.route.model, ex.route.target)
        call.compression, call.fitted, call.reason = ex.compression, ex.fitted, ex.reason
        ex.calls.append(call)
        span = self._tracer.start(
            names.operation_span(ex.endpoint.operation, ex.route.upstream_model),
            kind=Kind.CLIENT,
            parent=ex.span,
            start_ns=self._tracer.clock.at(call.started_s),
        )
        if span.recording:
            call.span = span.context
        watch = _Watch(ex, call, span, upstream, self._metrics)
        usage = upstream.reports_usage and ex.view.stream
        call.usage_added = usage and not ex.view.usage_wanted
        request = UpstreamRequest(
            ex.endpoint.upstream_path,
            outgoing(
                ex.body,
                ex.view,
                model=ex.route.upstream_model,
                usage=usage,
                # The cache has read its member, and upstreams would stumble over it.
                without=None if ex.cache is None else BODY_FIELD,
                prompt=() if ex.compression is None else ex.compression.edits,
                more=ask_for_logprobs(ex.body, ex.view.spans) if ex.logprobs else (),
            ),
            ex.view.stream,
            ex.tenant,
            {**to_upstream(ex.headers), **self._trace_headers(ex, span)},
        )
        answer = None
        try:
            answer = ex.keep(await upstream.send(request))
            call.status = answer.status
            if isinstance(answer.body, EventStream):
                for observer in ex.observers:
                    answer.body.tap(observer)
                answer.body.tap(UsageTap(call.outcome, remove=call.usage_added, count=ex.metered))
                answer.body.tap(watch)
                if not await answer.body.prime():
                    raise UpstreamBroke(f"The upstream '{upstream.name}' sent an empty stream.")
            else:
                call.outcome.take(read_answer(answer.body, count=ex.metered))
                watch.ended(None)
        except BaseException as error:
            if answer is not None:
                answer.close(error)
            watch.ended(error)
            raise
        return answer

    def _trace_headers(self, ex: Exchange, span: Span) -> dict[str, str]:
        if self._tracer.enabled:
            return span.context.headers()
        # We take no part in the trace, so the caller's own context goes on to whoever does.
        return ex.caller.headers() if ex.caller is not None else {}


class _Watch:
    """Notes when and how a call ends; the last tap of its stream."""

    __slots__ = ("_call", "_ex", "_metrics", "_over", "_span", "_upstream")

    def __init__(
        self, ex: Exchange, call: Call, span: Span, upstream: Upstream, metrics: GatewayMetrics
    ) -> None:
        self._ex = ex
        self._call = call
        self._span = span
        self._upstream = upstream
        self._metrics = metrics
        self._over = False

    def feed(self, events: Events) -> Events:
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        """End the call and its span; `error` says why if the answer is not complete."""
        if self._over:
            return
        self._over = True
        call = self._call
        call.ended_s = time.monotonic()
        if error is not None:
            cancelled = isinstance(error, asyncio.CancelledError)
            call.error = cause_of(self._ex.why_cancelled() if cancelled else error)
        elif call.status is not None and call.status >= 400:
            call.error = str(call.status)
        elif call.outcome.failed:
            call.error = _ERROR_EVENT
        if call.error is not None and _is_upstreams_fault(call.error):
            self._metrics.upstream_error(self._upstream.name, call.error)
        if self._span.recording:
            self._describe()
        if call.error is not None:
            self._span.fail(call.error)
        self._span.end()

    def _describe(self) -> None:
        ex, call, span = self._ex, self._call, self._span
        assert ex.view is not None and ex.route is not None
        span.update(
            {
                names.GEN_AI_OPERATION_NAME: ex.endpoint.operation,
                names.GEN_AI_PROVIDER_NAME: self._upstream.provider,
                names.GEN_AI_REQUEST_MODEL: ex.route.upstream_model,
                names.GEN_AI_REQUEST_STREAM: ex.view.stream,
                names.FOREBAY_UPSTREAM: self._upstream.name,
            }
        )
        for key, name, kind in _REQUEST_ATTRIBUTES:
            if (value := ex.view.value(ex.body, key, kind)) is not None:
                span.set(name, value)
        outcome = call.outcome
        if outcome.id:
            span.set(names.GEN_AI_RESPONSE_ID, outcome.id)
        if outcome.model:
            span.set(names.GEN_AI_RESPONSE_MODEL, outcome.model)
        if outcome.finish_reasons:
            span.set(names.GEN_AI_RESPONSE_FINISH_REASONS, outcome.finish_reasons)
        if outcome.first_chunk_s is not None:
            span.set(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, outcome.first_chunk_s - call.started_s)
        if call.status is not None:
            span.set(names.HTTP_RESPONSE_STATUS_CODE, call.status)
        if (usage := outcome.usage) is not None:
            span.set(names.GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens)
            span.set(names.GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens)
            span.set(names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cached_tokens)
            if usage.reasoning_tokens:
                span.set(names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning_tokens)


_REQUEST_ATTRIBUTES: tuple[tuple[str, str, type[int] | type[float]], ...] = (
    ("max_tokens", names.GEN_AI_REQUEST_MAX_TOKENS, int),
    ("max_completion_tokens", names.GEN_AI_REQUEST_MAX_TOKENS, int),
    ("temperature", names.GEN_AI_REQUEST_TEMPERATURE, float),
    ("top_p", names.GEN_AI_REQUEST_TOP_P, float),
    ("top_k", names.GEN_AI_REQUEST_TOP_K, int),
    ("seed", names.GEN_AI_REQUEST_SEED, int),
    ("n", names.GEN_AI_REQUEST_CHOICE_COUNT, int),
    ("frequency_penalty", names.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    ("presence_penalty", names.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
)
_NOT_THEIRS = (names.CLIENT_DISCONNECT, names.SHUTDOWN, names.INTERNAL_ERROR, names.GIVEN_UP)


def _is_upstreams_fault(error: str) -> bool:
    if error.isdigit() and int(error) < 500:
        return error in ("401", "429")
    return error not in _NOT_THEIRS
