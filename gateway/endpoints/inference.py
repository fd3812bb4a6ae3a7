"""The endpoints that run a model: from an HTTP request to an exchange, and from its answer to HTTP."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.hdrs import EXPECT

from gateway.drain import Drain
from gateway.endpoints.reply import Reply
from gateway.errors import (
    BodyTooLarge,
    ClientDisconnected,
    Draining,
    ExpectationFailed,
    GatewayError,
    InvalidRequest,
    RequestStalled,
)
from gateway.exchange import Exchange
from gateway.pipeline import Pipeline
from gateway.wire.request import Endpoint

BODY_PATIENCE_S = 30.0
"""A body may take as long as it likes, but not pause for longer than this."""

_log = structlog.get_logger("gateway.request")


class Inference:
    """Sends each request of one endpoint through the hops."""

    def __init__(self, endpoint: Endpoint, pipeline: Pipeline, drain: Drain) -> None:
        self._endpoint = endpoint
        self._run = pipeline.run
        self._drain = drain

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """`POST` to the endpoint."""

        async def receive(limit: int) -> bytes:
            return await _receive(request, limit)

        ex = Exchange(self._endpoint, request.headers, receive, why_cancelled=self._why_cancelled)
        reply = Reply(request)
        task = self._drain.enter()
        try:
            await reply.send(await self._run(ex))
        except ConnectionError:
            ex.error = ClientDisconnected("The client left before the answer was complete.")
            raise
        except asyncio.CancelledError:
            ex.error = self._why_cancelled()
            if not self._drain.expired:
                raise
            # It was we who cancelled, and the client still listens.
            await reply.fail(ex.error)
        except Exception as error:
            # The head of a stream is out, so the status can no longer tell: its last event will.
            ex.error = error
            if not isinstance(error, GatewayError):
                _log.error("request_failed", request_id=ex.id, exc_info=error)
            await reply.fail(error)
        finally:
            self._drain.leave(task)
            ex.end()
        assert reply.response is not None
        return reply.response

    def _why_cancelled(self) -> GatewayError:
        if self._drain.expired:
            return Draining("The gateway is shutting down.")
        return ClientDisconnected("The client left before the answer was complete.")


async def _receive(request: web.BaseRequest, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    content = request.content
    if EXPECT in request.headers:
        _say_continue(request)
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            if whole := content.is_eof():
                # All of it is here: no clock for what is not waited for.
                part = content.read_nowait()
            else:
                async with asyncio.timeout(BODY_PATIENCE_S):
                    part = await content.readany()
        except TimeoutError:
            raise RequestStalled("The request's body stopped arriving.") from None
        except web.RequestPayloadError as error:
            raise InvalidRequest("The request's body could not be decoded.") from error
        except ConnectionError as error:
            raise ClientDisconnected("The client left before its request was complete.") from error
        size += len(part)
        if size > limit:
            raise BodyTooLarge(limit)
        parts.append(part)
        if whole or not part:
            return b"".join(parts)


def _say_continue(request: web.BaseRequest) -> None:
    """Let the client send its body, now that it will be read (RFC 9110, section 10.1.1)."""
    expected = request.headers[EXPECT]
    if expected.lower() != "100-continue":
        raise ExpectationFailed(f"The expectation '{expected[:64]}' cannot be met.")
    if request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
