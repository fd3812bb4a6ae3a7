"""A stream of messages over a socket pair, and questions that wait for their answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pickle
import socket
from collections.abc import AsyncIterator

from gateway.messages import Answered, Message, Question, Reply, Subject

_LENGTH = 4


def _future() -> asyncio.Future[Reply]:
    return asyncio.get_running_loop().create_future()


class Link:
    """One end. Only the supervisor and a process that it started hold one, so pickles can be trusted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Reply]] = {}

    @classmethod
    async def over(cls, end: socket.socket) -> Link:
        """Return a link over one end of a socket pair, which it takes over."""
        end.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    def send(self, message: Message) -> None:
        """Send a message; to an end that has gone it is lost, which `messages` ending has told."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if not self._writer.is_closing():
            self._writer.write(len(data).to_bytes(_LENGTH, "big") + data)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what the other end sends, until it is gone. Answers go to whoever asked."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int.from_bytes(await self._reader.readexactly(_LENGTH), "big")
                message: Message = pickle.loads(await self._reader.readexactly(length))
                if not isinstance(message, Answered):
                    yield message
                elif (waiting := self._asked.pop(message.number, None)) and not waiting.done():
                    waiting.set_result(message.reply)
        for waiting in self._asked.values():
            waiting.cancel()

    async def ask(self, subject: Subject, patience_s: float) -> Reply:
        """Return the other end's answer. Raises TimeoutError, also if that end is gone."""
        number = next(self._numbers)
        waiting = self._asked[number] = _future()
        self.send(Question(number, subject))
        try:
            done, _ = await asyncio.wait([waiting], timeout=patience_s)
        finally:
            self._asked.pop(number, None)
        if not done or waiting.cancelled():
            raise TimeoutError
        return waiting.result()

    async def flush(self) -> None:
        """Wait until everything sent is on its way."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """Close this end; the other one sees that."""
        self._writer.close()
