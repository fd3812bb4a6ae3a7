"""One HTTP response on its way out: an answer, or the error that came instead of its rest."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http.client import responses

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from gateway.answer import Answer, EventStream
from gateway.wire.errors import error_answer, error_event


class Reply:
    """The response to one request."""

    __slots__ = ("_request", "_stream", "response")

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._stream: web.StreamResponse | None = None
        self.response: web.StreamResponse | None = None
        """For aiohttp, which wants one from every handler; none before the head is out."""

    async def send(self, answer: Answer) -> None:
        """Send an answer to its end. An error of its stream is the caller's to handle, with `fail`."""
        body = answer.body
        if isinstance(body, EventStream):
            await self._send_stream(answer, body)
        elif self._request.version == HttpVersion11 and self._request.keep_alive:
            await self._send_at_once(answer, body)
        else:
            self.response = web.Response(status=answer.status, body=body, headers=answer.headers)
            await self.response.prepare(self._request)
            await self.response.write_eof()

    async def fail(self, error: Exception) -> None:
        """Tell the client what happened: in an error answer, or a stream's last event if its head is out."""
        if self.response is None:
            await self.send(error_answer(error))
        elif self._stream is not None:
            await self._stream.write(error_event(error).raw)
            await self._stream.write_eof()

    async def _send_stream(self, answer: Answer, body: EventStream) -> None:
        # Proxies such as nginx would otherwise collect the events before they pass them on.
        headers = {**answer.headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
        self._stream = self.response = web.StreamResponse(status=answer.status, headers=headers)
        await self.response.prepare(self._request)
        async for events in body:
            await self.response.write(b"".join([event.raw for event in events]))
        await self.response.write_eof()

    async def _send_at_once(self, answer: Answer, body: bytes) -> None:
        """Write head and body without aiohttp's `Response`: it takes 10 µs to find out what is known here."""
        headers = CIMultiDict(answer.headers)
        headers["content-length"] = str(len(body))
        headers["date"] = _date(int(time.time()))
        writer = self._request.writer
        self.response = _SENT
        await writer.write_headers(_status_line(answer.status), headers)
        await writer.write_eof(body)


class _Sent(web.StreamResponse):
    """Tells aiohttp that the response is out and the connection can be kept."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


_SENT = _Sent()


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


@lru_cache(64)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {responses.get(status, '')}"
