"""Calls an OpenAI-shaped server over pooled connections, and tells every way in which that can fail apart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import aiohttp
import msgspec
import structlog

from gateway.answer import Answer, Events, EventStream
from gateway.config.schema import Timeouts
from gateway.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamGarbage,
    UpstreamRefusedUs,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.upstreams.base import UpstreamRequest
from gateway.wire.errors import INVALID_REQUEST, error_body
from gateway.wire.headers import to_client
from gateway.wire.sse import UNFINISHED, Event, EventTooLarge, SseParser
from gateway.wire.usage import DONE
from telemetry import names
from telemetry.version import __version__

MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_ANSWER_BYTES = 128 * 1024 * 1024
# Shorter than uvicorn's five seconds, so that we rarely write into a connection the server is just closing.
_KEEP_ALIVE_S = 4.0
_SLICE_BYTES = 256 * 1024
# After `[DONE]` the answer is complete; this is for the end of the message, to keep the connection.
_AFTER_DONE_S = 1.0
_EVENT_STREAM = "text/event-stream"
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
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the pool; connections are made when they are needed."""
        connector = aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=_KEEP_ALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
            headers={"user-agent": f"forebay/{__version__}", "accept-encoding": "identity"},
            # The environment must not redirect our calls, nor `.netrc` add credentials to them.
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def post(self, base_url: str, request: UpstreamRequest, headers: Mapping[str, str]) -> Answer:
        """Send a request and return its answer. Raises UpstreamError."""
        headers = {
            **request.headers,
            **headers,
            "content-length": str(len(request.body)),
            "content-type": "application/json",
            "accept": _EVENT_STREAM if request.stream else "application/json",
        }
        response = await self._open("POST", base_url + request.path, headers, request.body)
        keep = False
        try:
            if response.status < 300 and response.content_type == _EVENT_STREAM:
                events = _EventSource(_Reader(self._name, self._timeouts, response), self._name)
                keep = True
                return Answer(
                    response.status, EventStream(events, response.close), to_client(response.headers)
                )
            return self._whole(response, await self._body(response))
        finally:
            if not keep:
                # A no-op once the body is read to its end; otherwise the server sees us leave at once.
                response.close()

    async def get(self, base_url: str, path: str, headers: Mapping[str, str]) -> bytes:
        """Return the body of a GET that succeeded. Raises UpstreamError."""
        response = await self._open("GET", base_url + path, {**headers, "accept": "application/json"}, None)
        try:
            if response.status != 200:
                raise UpstreamGarbage(f"The upstream '{self._name}' answered with status {response.status}.")
            return await self._body(response)
        finally:
            response.close()

    async def _open(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise UpstreamUnreachable(f"The upstream '{self._name}' is closed.")
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                return await self._session.request(
                    method, url, data=_data(body), headers=headers, allow_redirects=False
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise late(
                self._name, "took no connection", self._timeouts.connect, names.CONNECT_TIMEOUT
            ) from error
        except TimeoutError as error:
            patience = self._timeouts.first_byte
            raise late(self._name, "began no answer", patience, names.FIRST_BYTE_TIMEOUT) from error
        except aiohttp.ClientConnectorError as error:
            raise self._failed("could not be reached", error, names.CONNECT_ERROR) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise self._failed("closed the connection unanswered", error, names.UPSTREAM_CLOSED) from error
        except aiohttp.ClientError as error:
            raise UpstreamGarbage(f"The upstream '{self._name}' did not answer in HTTP.") from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        reader = _Reader(self._name, self._timeouts, response)
        parts: list[bytes] = []
        size = 0
        while chunk := await reader.chunk():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamGarbage(f"The upstream '{self._name}' sent more than {MAX_ANSWER_BYTES} bytes.")
            parts.append(chunk)
        return b"".join(parts)

    def _whole(self, response: aiohttp.ClientResponse, body: bytes) -> Answer:
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
            if not _is_object(body):
                raise UpstreamGarbage(
                    f"The upstream '{self._name}' sent something that is not a JSON object."
                )
            return Answer(status, body, headers)
        if _is_error(body):
            return Answer(status, body, headers)
        if status >= 500:
            raise UpstreamGarbage(f"The upstream '{self._name}' failed with status {status}.")
        # The status means something to the client (429: wait), the page that came with it does not.
        message = f"The upstream '{self._name}' refused the request with status {status}."
        return Answer(status, error_body(message, INVALID_REQUEST, code="upstream_error"), headers)

    def _failed(self, what: str, error: Exception, cause: str) -> UpstreamUnreachable:
        # What the operating system says names addresses: for the operator's log, not for the client.
        _log.warning("upstream_unreachable", upstream=self._name, reason=str(error))
        return UpstreamUnreachable(f"The upstream '{self._name}' {what}.", cause=cause)


class _Reader:
    """Reads an answer's body: the first chunk has as long as the head had, every later one the idle time."""

    __slots__ = ("_cause", "_idle_s", "_name", "_patience_s", "_response")

    def __init__(self, name: str, timeouts: Timeouts, response: aiohttp.ClientResponse) -> None:
        self._name = name
        self._response = response
        self._patience_s, self._cause = timeouts.first_byte, names.FIRST_BYTE_TIMEOUT
        self._idle_s = timeouts.idle

    async def chunk(self) -> bytes:
        """Return what has come in, or b"" at the end. Raises UpstreamError."""
        try:
            if self._response.content.is_eof():
                # All of it is here: nothing is waited for, and a clock would cost more than the read.
                return await self._response.content.readany()
            async with asyncio.timeout(self._patience_s):
                chunk = await self._response.content.readany()
        except TimeoutError as error:
            raise late(self._name, "sent nothing", self._patience_s, self._cause) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamBroke(
                f"The upstream '{self._name}' broke off in the middle of its answer."
            ) from error
        self._patience_s, self._cause = self._idle_s, names.IDLE_TIMEOUT
        return chunk


class _EventSource:
    """The events of an answer as they come in, to its end or to `[DONE]`, whichever is first."""

    __slots__ = ("_done", "_name", "_over", "_parser", "_reader")

    def __init__(self, reader: _Reader, name: str) -> None:
        self._reader = reader
        self._name = name
        self._parser = SseParser(MAX_EVENT_BYTES)
        self._done = False
        self._over = False

    def __aiter__(self) -> _EventSource:
        return self

    async def __anext__(self) -> Events:
        while not self._over:
            if self._done:
                self._over = True
                await self._end_of_message()
                break
            if not (chunk := await self._reader.chunk()):
                self._over = True
                if rest := self._parser.rest():
                    # No client will dispatch it, but the upstream's bytes are the client's bytes.
                    return [Event(rest, type=UNFINISHED)]
                break
            try:
                events = self._parser.feed(chunk)
            except EventTooLarge as error:
                raise UpstreamGarbage(
                    f"The upstream '{self._name}' is not to be understood: {error}."
                ) from None
            if DONE in (said := [event.data for event in events]):
                self._done = True
                return events[: said.index(DONE) + 1]
            if events:
                return events
        raise StopAsyncIteration

    async def _end_of_message(self) -> None:
        # The client has its whole answer: what goes wrong or comes now is no failure of it.
        with contextlib.suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_AFTER_DONE_S):
                while await self._reader.chunk():
                    pass


def _data(body: bytes | None) -> bytes | AsyncIterator[bytes] | None:
    """Return a large body in slices: written at once, it would hold up all other requests."""
    return _slices(body) if body is not None and len(body) > _SLICE_BYTES else body


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _SLICE_BYTES):
        yield body[start : start + _SLICE_BYTES]


def late(name: str, what: str, seconds: float, cause: str) -> UpstreamTimeout:
    """Return the error of an upstream that let one of its timeouts pass."""
    return UpstreamTimeout(f"The upstream '{name}' {what} within {seconds:g} seconds.", cause=cause)


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
