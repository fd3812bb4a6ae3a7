"""One HTTP response on its way out: an answer, or the error that came instead of its rest."""

from __future__ import annotations

from aiohttp import web

from gateway.answer import Answer, EventStream
from gateway.wire.errors import error_answer, error_event


class Reply:
    """The response to one request."""

    __slots__ = ("_request", "response")

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.response: web.StreamResponse | None = None

    async def send(self, answer: Answer) -> None:
        """Send an answer to its end. An error of its stream is the caller's to handle, with `fail`."""
        body = answer.body
        if not isinstance(body, EventStream):
            self.response = web.Response(status=answer.status, body=body, headers=answer.headers)
            await self.response.prepare(self._request)
        else:
            # Proxies such as nginx would otherwise collect the events before they pass them on.
            headers = {**answer.headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
            self.response = web.StreamResponse(status=answer.status, headers=headers)
            await self.response.prepare(self._request)
            async for events in body:
                await self.response.write(b"".join([event.raw for event in events]))
        await self.response.write_eof()

    async def fail(self, error: Exception) -> None:
        """Tell the client what happened: in an error answer, or a stream's last event if its head is out."""
        if self.response is None:
            await self.send(error_answer(error))
        elif not isinstance(self.response, web.Response):
            await self.response.write(error_event(error).raw)
            await self.response.write_eof()
