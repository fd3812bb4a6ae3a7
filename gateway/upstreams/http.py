"""Calls an OpenAI-shaped server over pooled connections, and tells every way in which that can fail apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
import structlog

from gateway.answer import Answer, EventStream
from gateway.config.schema import Timeouts
from gateway.errors import UpstreamError, UpstreamGarbage, UpstreamRefusedUs, UpstreamUnreachable
from gateway.upstreams.base import UpstreamRequest
from gateway.upstreams.content import Content, late
from gateway.upstreams.events import EventSource
from gateway.upstreams.http1.client import Client, Response
from gateway.upstreams.http1.errors import (
    Closed,
    ConnectFailed,
    ConnectTimeout,
    HttpError,
    TimedOut,
)
from gateway.wire.errors import INVALID_REQUEST, error_body
from gateway.wire.headers import to_client
from gateway.wire.overflow import CODE, overflow_of
from telemetry import names
from telemetry.version import __version__

MAX_ANSWER_BYTES = 128 * 1024 * 1024
_EVENT_STREAM = "text/event-stream"
_ALWAYS = {"user-agent": f"forebay/{__version__}", "accept-encoding": "identity"}
_log = structlog.get_logger("gateway.upstreams")


class _ErrorObject(msgspec.Struct):
    error: msgspec.Raw


_DECODE_ERROR = msgspec.json.Decoder(_ErrorObject).decode
_DECODE_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class HttpCaller:
    """The connections to one upstream. It sends no header that it was not given, and follows no redirect."""

    def __init__(self, name: str, timeouts: Timeouts, max_connections: int) -> None:
        self._name = name
        self._timeouts = timeouts
        self._max_connections = max_connections
        self._clients: dict[str, Client] = {}
        self._open = False

    @property
    def in_use(self) -> int:
        """Connections that carry a request now."""
        return sum(client.in_use for client in self._clients.values())

    async def start(self) -> None:
        """Get ready; connections are made when they are needed."""
        self._open = True

    async def close(self) -> None:
        """Close all connections."""
        self._open = False
        for client in self._clients.values():
            await client.close()

    async def post(self, base_url: str, request: UpstreamRequest, headers: Mapping[str, str]) -> Answer:
        """Send a request and return its answer. Raises UpstreamError."""
        headers = {
            **_ALWAYS,
            **request.headers,
            **headers,
            "content-type": "application/json",
            "accept": _EVENT_STREAM if request.stream else "application/json",
        }
        response = await self._response("POST", base_url, request.path, headers, request.body)
        keep = False
        try:
            content = Content(self._name, self._timeouts, response)
            if response.status < 300 and _media_type(response) == _EVENT_STREAM:
                keep = True
                events = EventSource(content, self._name)
                return Answer(
                    response.status, EventStream(events, response.close), to_client(response.headers)
                )
            return self._whole(response, await self._body(content))
        finally:
            if not keep:
                # Keeps the connection if all of the body is here; otherwise the server sees us leave at once.
                response.close()

    async def get(self, base_url: str, path: str, headers: Mapping[str, str]) -> bytes:
        """Return the body of a GET that succeeded. Raises UpstreamError."""
        headers = {**_ALWAYS, **headers, "accept": "application/json"}
        response = await self._response("GET", base_url, path, headers, None)
        try:
            if response.status != 200:
                raise UpstreamGarbage(f"The upstream '{self._name}' answered with status {response.status}.")
            return await self._body(Content(self._name, self._timeouts, response))
        finally:
            response.close()

    async def _response(
        self, method: str, base_url: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        deadline_s = asyncio.get_running_loop().time() + self._timeouts.first_byte
        try:
            client = self._client(base_url)
            return await client.request(method, path, headers, body, deadline_s)
        except HttpError as error:
            raise self._failed(error) from error

    def _client(self, base_url: str) -> Client:
        if not self._open:
            raise UpstreamUnreachable(f"The upstream '{self._name}' is closed.")
        client = self._clients.get(base_url)
        if client is None:
            # An engine that was started again has a new address; its old connections ended with it.
            self._clients = {url: old for url, old in self._clients.items() if old.open}
            client = Client(base_url, self._max_connections, self._timeouts.connect)
            self._clients[base_url] = client
        return client

    async def _body(self, content: Content) -> bytes:
        parts: list[bytes] = []
        size = 0
        while chunk := await content.read():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamGarbage(f"The upstream '{self._name}' sent more than {MAX_ANSWER_BYTES} bytes.")
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _whole(self, response: Response, body: bytes) -> Answer:
        """Return an answer that is OpenAI's protocol, or make what we can of one that is not."""
        status = response.status
        if 300 <= status < 400:
            raise UpstreamGarbage(
                f"The upstream '{self._name}' answered with a redirect, which is not followed."
            )
        if status == 401:
            # It is our key that failed, and the message may show part of it.
            raise UpstreamRefusedUs(f"The upstream '{self._name}' did not accept this gateway's credentials.")
        headers = to_client(response.headers)
        headers["content-type"] = "application/json"
        if status < 300:
            # Whether it is JSON to its end is seen by whoever reads it.
            if body[:1] != b"{" and not _is_object(body):
                raise UpstreamGarbage(
                    f"The upstream '{self._name}' sent something that is not a JSON object."
                )
            return Answer(status, body, headers)
        if _is_error(body):
            return Answer(status, body, headers)
        if status >= 500:
            raise UpstreamGarbage(f"The upstream '{self._name}' failed with status {status}.")
        if (overflow := overflow_of(status, body)) is not None:
            # Said in a shape that is not OpenAI's: the one error of which clients make something.
            return Answer(status, error_body(overflow.message, INVALID_REQUEST, code=CODE), headers)
        # The status means something to the client (429: wait), the page that came with it does not.
        message = f"The upstream '{self._name}' refused the request with status {status}."
        return Answer(status, error_body(message, INVALID_REQUEST, code="upstream_error"), headers)

    def _failed(self, error: HttpError) -> UpstreamError:
        name, timeouts = self._name, self._timeouts
        match error:
            case ConnectTimeout():
                return late(name, "took no connection", timeouts.connect, names.CONNECT_TIMEOUT)
            case TimedOut():
                return late(name, "began no answer", timeouts.first_byte, names.FIRST_BYTE_TIMEOUT)
        # What the operating system says names addresses: for the operator's log, not for the client.
        _log.warning("upstream_unreachable", upstream=name, reason=str(error))
        match error:
            case ConnectFailed():
                what, cause = "could not be reached", names.CONNECT_ERROR
            case Closed():
                what, cause = "closed the connection unanswered", names.UPSTREAM_CLOSED
            case _:
                return UpstreamGarbage(f"The upstream '{name}' did not answer in HTTP.")
        return UpstreamUnreachable(f"The upstream '{name}' {what}.", cause=cause)


def _media_type(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_object(body: bytes) -> bool:
    try:
        _DECODE_OBJECT(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _is_error(body: bytes) -> bool:
    try:
        return bytes(_DECODE_ERROR(body).error).startswith(b"{")
    except (msgspec.DecodeError, RecursionError):
        return False
