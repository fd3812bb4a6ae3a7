"""A proxy that makes an HTTP upstream fail by script: one fault for each request, in the order given.

    python -m benchmarks.fault_proxy --upstream http://127.0.0.1:9000 reset@mid-body 'status=429*5' drip=0.01

A fault is written `ACTION[=VALUE][@STAGE][*COUNT]`. Requests after the last fault pass unharmed, unless
`--loop` starts the script over.

    pass          nothing happens
    delay=S       S seconds of silence, then the rest
    drip=S        byte by byte from here on, S seconds apart
    stall         silence until the client leaves
    close         the connection ends in good order, the message does not
    half-close    the sending half ends; the other one is read until the client leaves
    reset         RST
    truncate      the message ends in good order, its content does not (half a JSON, half a stream)
    garbage       bytes that are not the protocol
    status=N      an error answer of OpenAI's shape; `page=N` is one that is HTML
    refuse=S      nobody listens for S seconds (it follows a request and has no stage)

The upstream's own connection is not reused, and its answer's framing is made anew: what a fault does to the
bytes is decided here alone. Requests need a content-length.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

import aiohttp
import cyclopts

_GARBAGE = b'data: {"garbage\n\n'
_MAX_HEAD_BYTES = 64 * 1024


class Action(StrEnum):
    """What goes wrong."""

    PASS = "pass"
    DELAY = "delay"
    DRIP = "drip"
    STALL = "stall"
    CLOSE = "close"
    HALF_CLOSE = "half-close"
    RESET = "reset"
    TRUNCATE = "truncate"
    GARBAGE = "garbage"
    STATUS = "status"
    PAGE = "page"
    REFUSE = "refuse"


class Stage(StrEnum):
    """When it goes wrong."""

    CONNECT = "connect"
    """On a new connection before a byte is read; on one that is kept alive, when a request begins."""
    BEFORE_HEADERS = "before-headers"
    IN_HEADERS = "in-headers"
    AFTER_HEADERS = "after-headers"
    BETWEEN_EVENTS = "between-events"
    """After the second event of a stream."""
    MID_BODY = "mid-body"
    """Within the third event of a stream, or after half of any other body."""
    AFTER_DONE = "after-done"
    """After the last byte of the content: of a stream, `[DONE]`, but not the end of the HTTP message."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request. `value` is seconds or a status, by action."""

    action: Action
    stage: Stage = Stage.BEFORE_HEADERS
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> list[Self]:
        """Return the faults that `ACTION[=VALUE][@STAGE][*COUNT]` stands for. Raises ValueError."""
        match = re.fullmatch(r"([a-z-]+)(?:=([\d.]+))?(?:@([a-z-]+))?(?:\*(\d+))?", text)
        if match is None:
            raise ValueError(f"'{text}' is not ACTION[=VALUE][@STAGE][*COUNT]")
        action, value, stage, count = match.groups()
        fault = cls(Action(action), Stage(stage or Stage.BEFORE_HEADERS), float(value or 0))
        return [fault] * int(count or 1)


_IN_BODY = (Stage.BETWEEN_EVENTS, Stage.MID_BODY)
_FRAMING = ("connection", "keep-alive", "content-length", "transfer-encoding")


def _cut(stage: Stage, seen: bytes, length: int | None) -> int | None:
    """Return where in a body the stage is, or None as long as too little of it has come."""
    if length is not None:
        return length // 2 if len(seen) > length // 2 else None
    second = seen.find(b"\n\n", seen.find(b"\n\n") + 2) + 2
    if second < 4:
        return None
    inside = second + (10 if stage is Stage.MID_BODY else 0)
    return inside if len(seen) >= inside else None


class _Over(Exception):
    """The fault was the end of this connection."""


class FaultProxy:
    """Listens on loopback and forwards to `upstream` (scheme, host and port), but for what `script` says."""

    def __init__(
        self, upstream: str, script: Iterable[Fault] = (), *, port: int = 0, loop: bool = False
    ) -> None:
        self.script = deque(script)
        """The faults of the requests to come; may be added to at any time."""
        self.gate = asyncio.Event()
        """Faults within a body wait for it; it is open unless someone wants to see what comes before."""
        self.gate.set()
        self.requests = 0
        self._loop = loop
        self._upstream = upstream.rstrip("/")
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[object]] = set()
        self._busy = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        await self.listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.refuse()
        await self._session.close()

    async def listen(self) -> None:
        """Take connections, again on the same port after `refuse`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=_MAX_HEAD_BYTES)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Close the port and every connection: who connects now is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        here = asyncio.current_task()
        others = [task for task in self._connections if task is not here]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def quiet(self) -> None:
        """Wait until every fault has taken its course; one that stalls ends when its client leaves."""
        await self._quiet.wait()

    @contextlib.contextmanager
    def _playing(self) -> Iterator[None]:
        self._busy += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._quiet.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        client = _Client(reader, writer)
        try:
            struck = self.script and self.script[0].stage is Stage.CONNECT
            if struck:
                with self._playing():
                    await client.strike(self._next())
            while await self._request(client, Fault(Action.PASS) if struck else None):
                struck = False
        except (_Over, ConnectionError, asyncio.IncompleteReadError, aiohttp.ClientError):
            pass
        except asyncio.CancelledError:
            # `refuse` waits for nobody, and asyncio's own server would log this as an error.
            pass
        finally:
            self._connections.discard(task)
            client.close()

    async def _request(self, client: _Client, fault: Fault | None) -> bool:
        """Play one request; return whether the connection may carry another."""
        head = await client.reader.readuntil(b"\r\n\r\n")
        with self._playing():
            self.requests += 1
            fault = fault or self._next()
            if fault.stage in (Stage.CONNECT, Stage.BEFORE_HEADERS):
                await client.strike(fault)
            await self._answer(client, fault, head)
            if self.script and self.script[0].action is Action.REFUSE:
                pause = self._next().value
                client.close()
                await self.refuse()
                await asyncio.sleep(pause)
                await self.listen()
                return False
        return True

    def _next(self) -> Fault:
        if not self.script:
            return Fault(Action.PASS)
        fault = self.script.popleft()
        if self._loop:
            self.script.append(fault)
        return fault

    async def _answer(self, client: _Client, fault: Fault, head: bytes) -> None:
        request_line, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = request_line.split(" ", 2)
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await client.reader.readexactly(int(headers.get("content-length", 0)))
        for name in ("connection", "host", "content-length"):
            headers.pop(name, None)
        async with self._session.request(
            method, self._upstream + path, data=body, headers=headers, allow_redirects=False
        ) as answer:
            # Content that ends early in a message that ends well cannot have the length that was announced.
            known = fault.action not in (Action.TRUNCATE, Action.GARBAGE)
            length = answer.content_length if known else None
            await client.head(answer, length, fault)
            seen = b""
            struck = fault.stage not in _IN_BODY
            async for piece in answer.content.iter_any():
                if struck:
                    await client.body(piece)
                    continue
                seen += piece
                cut = _cut(fault.stage, seen, answer.content_length)
                if cut is None:
                    await client.body(piece)
                    continue
                struck = True
                ahead = cut - (len(seen) - len(piece))
                await client.body(piece[:ahead])
                await self.gate.wait()
                await client.strike(fault)
                await client.body(piece[ahead:])
            if fault.stage is Stage.AFTER_DONE:
                await self.gate.wait()
                await client.strike(fault)
            await client.end()


class _Client:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self._drip_s: float | None = None
        self._in_body = False
        self._chunked = False

    async def strike(self, fault: Fault) -> None:
        """Let the fault happen here. Raises _Over if nothing can follow it."""
        match fault.action:
            case Action.PASS:
                return
            case Action.DELAY:
                return await asyncio.sleep(fault.value)
            case Action.DRIP:
                self._drip_s = fault.value
                return
            case Action.STALL:
                await self._left()
            case Action.HALF_CLOSE:
                self._writer.write_eof()
                await self._left()
            case Action.RESET:
                # Without lingering, closing sends RST instead of FIN.
                self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
            case Action.TRUNCATE:
                await self.end()
            case Action.GARBAGE if self._in_body:
                await self.body(_GARBAGE)
                await self.end()
            case Action.GARBAGE:
                await self._write(_GARBAGE)
            case Action.STATUS | Action.PAGE:
                await self._write(_error(fault))
        raise _Over

    async def head(self, answer: aiohttp.ClientResponse, length: int | None, fault: Fault) -> None:
        """Send the status line and headers, and strike within or after them if that is the fault's stage."""
        self._chunked = length is None
        kept = [f"{name}: {value}" for name, value in answer.headers.items() if name.lower() not in _FRAMING]
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        head = "\r\n".join([f"HTTP/1.1 {answer.status} {answer.reason}", *kept, framing, "", ""]).encode(
            "latin-1"
        )
        if fault.stage is Stage.IN_HEADERS:
            await self._write(head[:25])
            await self.strike(fault)
            head = head[25:]
        await self._write(head)
        self._in_body = True
        if fault.stage is Stage.AFTER_HEADERS:
            await self.strike(fault)

    async def body(self, data: bytes) -> None:
        """Send a part of the content."""
        if data and self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        await self._write(data)

    async def end(self) -> None:
        """End the message."""
        if self._chunked:
            await self._write(b"0\r\n\r\n")
        self._in_body = False
        self._drip_s = None

    def close(self) -> None:
        """Close the connection in good order."""
        self._writer.close()

    async def _write(self, data: bytes) -> None:
        if self._drip_s is None:
            self._writer.write(data)
            return await self._writer.drain()
        for at in range(len(data)):
            self._writer.write(data[at : at + 1])
            await self._writer.drain()
            await asyncio.sleep(self._drip_s)

    async def _left(self) -> None:
        while await self.reader.read(_MAX_HEAD_BYTES):
            pass

    def _socket(self) -> socket.socket:
        found: socket.socket = self._writer.get_extra_info("socket")
        return found


def _error(fault: Fault) -> bytes:
    status = int(fault.value)
    if fault.action is Action.PAGE:
        kind, body = "text/html", b"<html><title>Out of order</title></html>"
    else:
        kind = "application/json"
        code = b"rate_limit_exceeded" if status == 429 else b"server_error"
        body = b'{"error":{"message":"By script.","type":"scripted","param":null,"code":"%b"}}' % code
    again = "retry-after: 0\r\n" if status in (429, 503) else ""
    head = f"HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\n{again}connection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def main(
    *script: str,
    upstream: str,
    port: int = 9100,
    loop: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> None:
    """Forward to an upstream on loopback and let its answers fail by script.

    Parameters
    ----------
    script: faults in order, each ACTION[=VALUE][@STAGE][*COUNT].
    upstream: scheme, host and port of the server behind the proxy.
    port: where to listen.
    loop: begin again after the last fault.
    """
    try:
        faults = [fault for text in script for fault in Fault.parse(text)]
    except ValueError as error:
        raise SystemExit(f"fault_proxy: {error}") from None
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(upstream, port, faults, loop))


async def _run(upstream: str, port: int, faults: list[Fault], loop: bool) -> None:
    async with FaultProxy(upstream, faults, port=port, loop=loop) as proxy:
        print(f"{proxy.url} -> {upstream}: {len(faults)} faults", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    cyclopts.run(main)
