"""The outermost hop: turns errors into answers, and at the end counts what the request took and cost."""

from __future__ import annotations

import logging
import time

import msgspec
import structlog

from gateway.answer import Answer, Events, EventStream
from gateway.cost import cost_usd
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.savings.counting import Savings
from gateway.settlement import (
    compression_of,
    cost_of,
    fit_of,
    reason_of,
    route_of,
    settle,
    timings_of,
    trace_id_of,
)
from gateway.state.settled import SettledRequest, SettledRequests
from gateway.wire import headers
from gateway.wire.errors import error_answer
from gateway.wire.sse import comment_event
from gateway.wire.usage import DONE
from telemetry.logs import request_log
from telemetry.metrics import GatewayMetrics

_log = structlog.get_logger("gateway.request")
# Says whether a line would be written before one is put together.
_plain_log = logging.getLogger("gateway.request")


class Settle:
    """Sees every request, refused ones included, and every byte of its answer go."""

    name = "settle"

    def __init__(self, metrics: GatewayMetrics, settled: SettledRequests, savings: Savings) -> None:
        self._metrics = metrics
        self._settled = settled
        self._savings = savings

    async def run(self, ex: Exchange, next: Next) -> Answer:
        self._metrics.in_flight += 1
        ex.at_end(lambda: self._settle(ex))
        try:
            answer = await next(ex)
        except Exception as error:
            ex.error = error
            if not isinstance(error, GatewayError):
                _log.error("request_failed", request_id=ex.id, exc_info=error)
            answer = error_answer(error)
        ex.status = answer.status
        _add_headers(ex, answer)
        if isinstance(answer.body, EventStream):
            answer.body.tap(_StreamEnd(ex, self._savings))
        else:
            ex.first_byte_s = time.monotonic()
        return answer

    def _settle(self, ex: Exchange) -> None:
        self._metrics.in_flight -= 1
        record = settle(ex, self._savings.settle(ex))
        if ex.tenant:
            # Nobody could ask for the record of a request without a tenant, and strangers must not displace
            # the others.
            self._settled.add(record)
        self._count(ex, record)
        failed = ex.failure() is not None
        if failed or _plain_log.isEnabledFor(logging.INFO):
            _log_request(ex, record, failed=failed)

    def _count(self, ex: Exchange, record: SettledRequest) -> None:
        if record.cache is not None:
            self._metrics.cache_request(record.cache)
        # Names behind the star are the client's invention: one label for all of them.
        model = ex.calls[-1].model if ex.calls else ex.route.model if ex.route else ""
        timings = record.timings_ms
        self._metrics.request(
            route=record.endpoint,
            model=model,
            status=record.status or 0,
            duration_s=timings.total / 1000,
            overhead_s=timings.overhead / 1000,
            first_byte_s=None if timings.first_byte is None else timings.first_byte / 1000,
        )
        for call in ex.calls:
            if (usage := call.outcome.usage) is not None:
                price = call.target.price
                self._metrics.usage(
                    model=call.model,
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    cached_tokens=usage.cached_tokens,
                    cost_usd=0.0 if price is None else cost_usd(usage, price),
                )
        for scoring in ex.scorings:
            usage, price = scoring.usage, scoring.target.price
            self._metrics.usage(
                model=scoring.model,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                cost_usd=0.0 if price is None else cost_usd(usage, price),
            )


class _StreamEnd:
    """Notes the first byte, and puts the report that the client asked for before `[DONE]`."""

    __slots__ = ("_ex", "_report", "_savings")

    def __init__(self, ex: Exchange, savings: Savings) -> None:
        self._ex = ex
        self._report = ex.report
        self._savings = savings

    def feed(self, events: Events) -> Events:
        if self._ex.first_byte_s is None:
            self._ex.first_byte_s = time.monotonic()
        if not self._report:
            return events
        out: Events = []
        for event in events:
            if event.data == DONE:
                out += self.finish()
            out.append(event)
        return out

    def finish(self) -> Events:
        if not self._report:
            return []
        self._report = False
        record = settle(self._ex, self._savings.so_far(self._ex))
        return [comment_event(b"forebay " + msgspec.json.encode(record))]

    def ended(self, error: BaseException | None) -> None:
        """Nothing is held."""


def _log_request(ex: Exchange, record: SettledRequest, *, failed: bool) -> None:
    log = request_log(_log, ex.id, ex.span.context)
    (log.warning if failed else log.info)(
        "request",
        endpoint=record.endpoint,
        model=record.model,
        route=record.route,
        status=record.status,
        error=record.error,
        ms=record.timings_ms.total,
    )


def _add_headers(ex: Exchange, answer: Answer) -> None:
    timings = timings_of(ex)
    sent = answer.headers
    sent[headers.REQUEST_ID] = ex.id
    # Where OpenAI's SDKs look for the id that they show in errors.
    sent["x-request-id"] = ex.id
    sent[headers.ATTEMPTS] = str(len(ex.calls))
    ours = f"upstream;dur={timings.upstream:g}, overhead;dur={timings.overhead:g}"
    if (fitted := fit_of(ex)) is not None:
        ours = f"fit;dur={fitted.ms:g}, {ours}"
    if (made := compression_of(ex)) is not None:
        if not made.mode.startswith("fit:"):
            ours = f"compress;dur={made.ms:g}, {ours}"
        sent[headers.TOKENS_SAVED] = str(made.tokens_before - made.tokens_after)
    # The engine's own phases come first: they are part of what the upstream took.
    parts = [theirs] if (theirs := sent.get("server-timing")) else []
    if ex.cache is not None and ex.cache.asked is not None:
        parts += [f"{step};dur={ms:g}" for step, ms in ex.cache.asked.timings()]
    sent["server-timing"] = ", ".join([*parts, ours])
    if (route := route_of(ex)) is not None:
        sent[headers.ROUTE] = headers.printable(route)
    if (reason := reason_of(ex)) is not None:
        sent[headers.ROUTE_REASON] = headers.one_line(reason)
    if (trace_id := trace_id_of(ex)) is not None:
        sent[headers.TRACE_ID] = trace_id
    if isinstance(answer.body, bytes) and (cost := cost_of(ex)) is not None:
        sent[headers.COST] = f"{cost:.10f}".rstrip("0").rstrip(".") if cost else "0"
    sent.update(ex.reply_headers)
