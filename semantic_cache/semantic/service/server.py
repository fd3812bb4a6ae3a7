"""The process's end of its socket: takes calls, bounded in size and number, and answers them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import msgspec
import structlog

from semantic_cache.errors import CacheError
from semantic_cache.semantic.protocol import (
    UNANSWERED,
    BadFrame,
    Call,
    Failed,
    Frames,
    Reply,
    decode_call,
    frame,
)

MAX_CALLS = 1024
"""Calls of one worker under way; what comes on top is refused."""
Answer = Callable[[Call], Awaitable[Reply | None]]
_log = structlog.get_logger("semantic_cache.service")


class Server:
    """Listens on a path."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self, path: Path) -> None:
        """Listen. A socket that an earlier process left there is replaced. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        # Before anybody can connect: the directory is private as well, but need not be ours alone.
        mask = os.umask(0o177)
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(self._connect, path)
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()

    def _connect(self) -> _Connection:
        return _Connection(self._answer, self._connections)


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Answer, all_of_them: set[_Connection]) -> None:
        self._answer = answer
        self._all = all_of_them
        self._frames = Frames()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._all.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                self._take(*decode_call(body))
        except (BadFrame, msgspec.DecodeError) as error:
            _log.error("semantic_client_refused", reason=str(error))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._all.discard(self)
        # Nobody waits for these any more. What has to be learnt is, in tasks of its own.
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self, number: int, call: Call) -> None:
        if len(self._tasks) >= MAX_CALLS:
            self._send(number, Failed("busy"))
            return
        task = asyncio.get_running_loop().create_task(self._run(number, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, number: int, call: Call) -> None:
        try:
            reply = await self._answer(call)
        except CacheError as error:
            reply = Failed(type(error).__name__)
        except Exception as error:
            _log.error("semantic_call_failed", call=type(call).__name__, exc_info=error)
            reply = Failed("internal_error")
        if reply is not None:
            self._send(number, reply)

    def _send(self, number: int, reply: Reply) -> None:
        if number == UNANSWERED or self._transport is None or self._transport.is_closing():
            return
        try:
            data = frame(number, reply)
        except BadFrame:
            data = frame(number, Failed("too_large"))
        self._transport.write(data)
