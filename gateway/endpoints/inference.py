"""The endpoints that run a model: from an HTTP request to an exchange, and from its answer to HTTP."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from gateway.answer import Answer, EventStream
from gateway.errors import (
    BodyTooLarge,
    ClientDisconnected,
    Draining,
    GatewayError,
    InvalidRequest,
    RequestStalled,
)
from gateway.exchange import Exchange
from gateway.pipeline import Pipeline
from gateway.wire.errors import error_event
from gateway.wire.request import Endpoint

_log = structlog.get_logger("gateway.request")

BODY_PATIENCE_S = 30.0
"""A body may take as long as it likes, but not pause for longer than this."""


class Inference:
    """Sends each request of one endpoint through the hops."""

    def __init__(self, endpoint: Endpoint, pipeline: Pipeline) -> None:
        self._endpoint = endpoint
        self._pipeline = pipeline

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """`POST` to the endpoint."""
        async def receive(limit: int) -> bytes:
            return await _receive(request, limit)

        def why_cancelled() -> ClientDisconnected | Draining:
            return _why_it_ended(request)

        ex = Exchange(self._endpoint, request.headers, receive, why_cancelled=why_cancelled)
        answer: Answer | None = None
        try:
            answer = await self._pipeline.run(ex)
            return await _send(request, ex, answer)
        except (asyncio.CancelledError, ConnectionError):
            ex.error = why_cancelled()
            raise
        finally:
            if answer is not None:
                answer.close(ex.error or ClientDisconnected())
            ex.end()


async def _receive(request: web.Request, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(BODY_PATIENCE_S):
                part = await request.content.readany()
        except TimeoutError:
            raise RequestStalled("The request's body stopped arriving.") from None
        except web.RequestPayloadError as error:
            raise InvalidRequest("The request's body could not be decoded.") from error
        except ConnectionError as error:
            raise ClientDisconnected("The client left before its request was complete.") from error
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > limit:
            raise BodyTooLarge(limit)
        parts.append(part)


async def _send(request: web.Request, ex: Exchange, answer: Answer) -> web.StreamResponse:
    if not isinstance(answer.body, EventStream):
        whole = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        await whole.prepare(request)
        await whole.write_eof()
        return whole
    # Proxies such as nginx would otherwise collect the events before they pass them on.
    headers = {**answer.headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    await _write_events(response, ex, answer.body)
    await response.write_eof()
    return response


async def _write_events(response: web.StreamResponse, ex: Exchange, stream: EventStream) -> None:
    try:
        async for events in stream:
            await response.write(b"".join([event.raw for event in events]))
    except ConnectionError:
        raise
    except Exception as error:
        # The head is out, so the status can no longer tell: the client's last event is an error object.
        ex.error = error
        if not isinstance(error, GatewayError):
            _log.error("request_failed", request_id=ex.id, exc_info=error)
        await response.write(error_event(error).raw)


def _why_it_ended(request: web.Request) -> ClientDisconnected | Draining:
    if request.transport is None or request.transport.is_closing():
        return ClientDisconnected("The client left before the answer was complete.")
    return Draining("The gateway is shutting down.")
