"""Takes a request in: server span, tenant, headers, size limit, and the few fields of its body we read."""

from __future__ import annotations

import time
from collections.abc import Collection

from gateway.answer import Answer
from gateway.compression.mode import OFF, Mode, Way
from gateway.errors import InvalidRequest, UnsupportedMediaType
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.settlement import cost_of, route_of, timings_of
from gateway.state.keys.keyring import Keyring
from gateway.wire.headers import (
    COMPRESS,
    compress_mode,
    refuse_unknown,
    session_name,
    stream_mode,
    wants_report,
)
from gateway.wire.request import Endpoint, read_request
from telemetry import names
from telemetry.context import parse
from telemetry.spans import Kind, Tracer


class Edge:
    """The first hop that may refuse."""

    name = "edge"

    def __init__(
        self,
        tracer: Tracer,
        keyring: Keyring,
        max_body_bytes: int,
        compress: Mode = OFF,
        *,
        ways: Collection[Way] = (),
    ) -> None:
        """`compress` is what happens to the prompts of requests that do not say, `ways` what may be done
        about those that are too long for their model; without any, nothing is."""
        self._tracer = tracer
        self._keyring = keyring
        self._max_body_bytes = max_body_bytes
        self._compress = compress
        self._ways = ways

    async def run(self, ex: Exchange, next: Next) -> Answer:
        self._open_span(ex)
        # Before anything else is looked at: a stranger learns nothing and sends no body.
        identity = self._keyring.identify(ex.headers.get("authorization"))
        ex.tenant, ex.limits = identity.tenant, identity.limits
        refuse_unknown(ex.headers)
        ex.report = wants_report(ex.headers)
        ex.streams, ex.session = stream_mode(ex.headers), session_name(ex.headers)
        ex.compress = self._compress_mode(ex)
        ex.fit = ex.compress if self._ways else OFF
        _check_media_type(ex.headers.get("content-type", ""))
        ex.body = await ex.receive(self._max_body_bytes)
        ex.received_s = time.monotonic()
        ex.view = read_request(ex.body, ex.endpoint)
        return await next(ex)

    def _compress_mode(self, ex: Exchange) -> Mode:
        asked = compress_mode(ex.headers)
        if asked is not None and asked.kind == "fit" and not self._may_fit(asked):
            message = f"'{COMPRESS}: {asked.label}' is switched off on this gateway."
            raise InvalidRequest(message, param=COMPRESS)
        if ex.endpoint is Endpoint.CHAT:
            return self._compress if asked is None else asked
        if asked is not None and asked is not OFF:
            raise InvalidRequest(f"'{COMPRESS}' is for chat completions only.", param=COMPRESS)
        return OFF

    def _may_fit(self, mode: Mode) -> bool:
        return bool(self._ways) if mode.way is None else mode.way in self._ways

    def _open_span(self, ex: Exchange) -> None:
        ex.caller = parse(ex.headers.get("traceparent"), ex.headers.get("tracestate"))
        if not self._tracer.enabled:
            return
        ex.span = self._tracer.start(
            names.http_span("POST", ex.endpoint.route),
            kind=Kind.SERVER,
            parent=ex.caller,
            start_ns=self._tracer.clock.at(ex.started_s),
        )
        ex.at_end(lambda: _end_span(ex))


def _check_media_type(content_type: str) -> None:
    # A web page may send forms and bodies without a type to this machine unasked, but not JSON: browsers hold
    # that back until the server allows it, which this one never does.
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType("Send the body with the header 'content-type: application/json'.")


def _end_span(ex: Exchange) -> None:
    span = ex.span
    if span.recording:
        span.update(
            {
                names.HTTP_REQUEST_METHOD: "POST",
                names.HTTP_ROUTE: ex.endpoint.route,
                names.URL_PATH: ex.endpoint.route,
                names.HTTP_REQUEST_BODY_SIZE: len(ex.body),
                names.FOREBAY_REQUEST_ID: ex.id,
                names.FOREBAY_TENANT: ex.tenant,
                names.FOREBAY_ATTEMPTS: len(ex.calls),
                names.FOREBAY_OVERHEAD_MS: timings_of(ex).overhead,
            }
        )
        if (cost := cost_of(ex)) is not None:
            span.set(names.FOREBAY_COST_USD, cost)
        if (route := route_of(ex)) is not None:
            span.set(names.FOREBAY_ROUTE, route)
        if ex.status is not None:
            span.set(names.HTTP_RESPONSE_STATUS_CODE, ex.status)
        if failure := ex.failure():
            span.fail(failure)
    span.end()
