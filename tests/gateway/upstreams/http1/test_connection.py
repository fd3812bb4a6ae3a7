"""One connection against a server whose every byte is scripted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.dial import dial
from gateway.upstreams.http1.errors import Closed, ProtocolError, TimedOut
from gateway.upstreams.http1.origin import Origin
from tests.gateway.support.raw_server import Peer, RawServer, Script, chunked, raw_server, response, serving

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
BODY = b"body"
LONG_S = 30.0
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LARGE = bytes(64 * 1024 * 1024)
"""More than the kernel takes for a connection whose other end does not read."""


@asynccontextmanager
async def connected(script: Script) -> AsyncIterator[tuple[Connection, RawServer]]:
    """A connection to a server; at the end it is closed, and the server has seen it go."""
    async with raw_server(script) as server:
        lost = asyncio.Event()
        connection = await dial(Origin.of(server.url), lambda: Connection(lambda gone: lost.set()), LONG_S)
        try:
            yield connection, server
        finally:
            connection.abort()
            await lost.wait()
            await server.all_gone()


def soon() -> float:
    return asyncio.get_running_loop().time() + LONG_S


def head_for(body: bytes) -> bytes:
    return b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)


async def content(connection: Connection) -> bytes:
    parts = []
    while part := await connection.read(LONG_S):
        parts.append(part)
    return b"".join(parts)


async def exchange(connection: Connection, body: bytes = BODY) -> tuple[int, bytes]:
    await connection.request(head_for(body), body, soon())
    return connection.status, await content(connection)


async def test_a_request_and_its_response() -> None:
    got: list[tuple[bytes, bytes]] = []

    async def script(peer: Peer) -> None:
        got.append(await peer.request())
        await peer.send(response(b"hello", "201 Created", "X-Name: value"))
        await peer.left()

    async with connected(script) as (connection, _):
        assert await exchange(connection) == (201, b"hello")
        assert connection.headers["x-name"] == "value"
        assert connection.finish()
    assert got == [(HEAD, BODY)]


async def test_one_exchange_after_another() -> None:
    async with connected(serving(response(b"hello"))) as (connection, server):
        for number in range(5):
            assert connection.reused == (number > 0)
            assert await exchange(connection) == (200, b"hello")
            assert connection.finish() and connection.usable()
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [response(b"hello"), CHUNKED + chunked(b"he", b"llo"), b"HTTP/1.1 200 OK\r\n\r\nhello"],
    ids=["length", "chunks", "until closed"],
)
async def test_the_same_byte_by_byte(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for byte in answer:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)

    async with connected(script) as (connection, _):
        assert await exchange(connection) == (200, b"hello")


async def test_a_small_answer_wakes_its_caller_once() -> None:
    async with connected(serving(response(b"hello" * 1000))) as (connection, _):
        steps = 0
        asking = exchange(connection).__await__()
        answered = asyncio.Event()

        async def step() -> tuple[int, bytes]:
            nonlocal steps
            while True:
                try:
                    waited = next(asking)
                except StopIteration as done:
                    return done.value
                steps += 1
                waited._asyncio_future_blocking = False
                waited.add_done_callback(lambda _: answered.set())
                await answered.wait()
                answered.clear()

        assert await step() == (200, b"hello" * 1000)
        assert steps == 1


async def test_content_comes_as_it_is_sent() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"3\r\none\r\n")
        await go_on.wait()
        await peer.send(chunked(b"two"))
        await peer.left()

    async with connected(script) as (connection, _):
        await connection.request(HEAD, BODY, soon())
        assert await connection.read(LONG_S) == b"one"
        go_on.set()
        assert await content(connection) == b"two"
        assert connection.finish()


# How a response can fail to come to its end.


async def test_closed_without_an_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with connected(script) as (connection, _):
        with pytest.raises(Closed):
            await connection.request(HEAD, BODY, soon())
        assert not connection.begun and not connection.finish()


@pytest.mark.parametrize("cut", [10, 20, 40])
async def test_closed_within_a_head(cut: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"hello", "200 OK", "x: value")[:cut])

    async with connected(script) as (connection, _):
        with pytest.raises(Closed):
            await connection.request(HEAD, BODY, soon())
        assert connection.begun


@pytest.mark.parametrize("sent", [response(b"hello")[:-2], CHUNKED + b"3\r\nhel\r\n"])
async def test_closed_within_content(sent: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)

    async with connected(script) as (connection, _):
        await connection.request(HEAD, BODY, soon())
        # What came is the caller's before it learns of the end.
        assert await connection.read(LONG_S) == b"hel"
        with pytest.raises(Closed):
            await connection.read(LONG_S)
        assert not connection.finish()


async def test_half_of_the_connection_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"hello")[:-2])
        peer.writer.write_eof()
        await peer.left()

    async with connected(script) as (connection, _):
        await connection.request(HEAD, BODY, soon())
        assert await connection.read(LONG_S) == b"hel"
        with pytest.raises(Closed):
            await connection.read(LONG_S)


async def test_not_http() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"SSH-2.0-OpenSSH\r\n")
        await peer.left()

    async with connected(script) as (connection, _):
        with pytest.raises(ProtocolError):
            await connection.request(HEAD, BODY, soon())
        assert not connection.finish()


async def test_a_broken_chunk() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"3\r\none\r\nzz\r\n")
        await peer.left()

    async with connected(script) as (connection, _):
        await connection.request(HEAD, BODY, soon())
        assert await connection.read(LONG_S) == b"one"
        with pytest.raises(ProtocolError):
            await connection.read(LONG_S)


async def test_a_server_that_speaks_first() -> None:
    spoken = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.send(response(b"to nobody"))
        spoken.set()
        await peer.left()

    async with connected(script) as (connection, server):
        await spoken.wait()
        await server.all_gone()
        with pytest.raises(ProtocolError):
            await connection.request(HEAD, BODY, soon())


async def test_a_deadline_for_the_head() -> None:
    async def script(peer: Peer) -> None:
        await peer.left()

    async with connected(script) as (connection, _):
        with pytest.raises(TimedOut):
            await connection.request(HEAD, BODY, asyncio.get_running_loop().time() + 0.05)
        assert not connection.finish()


async def test_patience_for_content() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"3\r\none\r\n")
        await peer.left()

    async with connected(script) as (connection, _):
        await connection.request(HEAD, BODY, soon())
        assert await connection.read(LONG_S) == b"one"
        # Shorter than what the timer was set to before.
        with pytest.raises(TimedOut):
            await connection.read(0.05)


async def test_each_byte_has_a_patience_of_its_own() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(10):
            await asyncio.sleep(0.05)
            await peer.send(b"1\r\na\r\n")
        await peer.send(chunked())
        await peer.left()

    async with connected(script) as (connection, _):
        await connection.request(HEAD, BODY, soon())
        parts = []
        while part := await connection.read(0.4):
            parts.append(part)
        assert b"".join(parts) == b"a" * 10


# What may not be used again.


@pytest.mark.parametrize(
    "answer",
    [
        response(b"hello", "200 OK", "connection: close"),
        response(b"hello").replace(b"1.1", b"1.0"),
        response(b"hello") + b"HTTP/1.1 200 OK\r\n\r\nof somebody else",
        response(b"hello") + b"rubbish",
    ],
)
async def test_a_connection_that_carries_no_other(answer: bytes) -> None:
    async with connected(serving(answer)) as (connection, server):
        assert await exchange(connection) == (200, b"hello")
        assert not connection.finish()
        await server.all_gone()


async def test_content_that_was_not_waited_for() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"3\r\none\r\n")
        await peer.left()

    async with connected(script) as (connection, server):
        await connection.request(HEAD, BODY, soon())
        assert not connection.finish()
        await server.all_gone()


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\n", b""])
async def test_an_idle_connection_that_hears_something(surplus: bytes) -> None:
    idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"hello"))
        await idle.wait()
        await peer.send(surplus)
        if surplus:
            await peer.left()

    async with connected(script) as (connection, server):
        await exchange(connection)
        assert connection.finish()
        idle.set()
        await server.all_gone()
        assert not connection.usable()
        with pytest.raises((Closed, ProtocolError)):
            await connection.request(HEAD, BODY, soon())


async def test_the_kernel_knows_before_the_loop_does() -> None:
    """The server's FIN is here, but the loop has had no turn to tell us of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    lost = asyncio.Event()
    connection = await dial(Origin.of(url), lambda: Connection(lambda gone: lost.set()), LONG_S)
    accepted, _ = listener.accept()
    assert connection.usable()
    accepted.close()
    assert not connection.lost and not connection.usable()
    listener.close()
    await lost.wait()


# Large requests and slow readers.


async def test_a_large_request_arrives_whole() -> None:
    body = bytes(range(256)) * 8192
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        got.append((await peer.request())[1])
        await peer.send(response(b"hello"))
        await peer.left()

    async with connected(script) as (connection, _):
        assert await exchange(connection, body) == (200, b"hello")
        assert connection.finish()
    assert got == [body]


async def test_a_response_before_the_request_is_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(response(b"too large", "413 Content Too Large"))
        await peer.left()

    async with connected(script) as (connection, _):
        assert await exchange(connection, LARGE) == (413, b"too large")
        # Half of a request is still on its way.
        assert not connection.finish()


async def test_a_server_that_does_not_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await peer.reader.read()

    async with raw_server(script) as server:
        lost = asyncio.Event()
        connection = await dial(Origin.of(server.url), lambda: Connection(lambda gone: lost.set()), LONG_S)
        with pytest.raises(TimedOut):
            await connection.request(head_for(LARGE), LARGE, asyncio.get_running_loop().time() + 0.2)
        connection.finish()
        # Closed at once, although most of it is not sent.
        await lost.wait()
        for peer in server.peers:
            peer.writer.transport.abort()


async def test_a_large_request_holds_up_no_other() -> None:
    """Not even if the network takes all of it as fast as it is written."""
    written: list[int] = []

    class Sink:
        """A transport that is never full."""

        def __init__(self) -> None:
            self.sockets = socket.socketpair()

        def get_extra_info(self, name: str) -> socket.socket:
            return self.sockets[0]

        def write(self, data: bytes) -> None:
            written.append(len(data))

        def abort(self) -> None:
            for end in self.sockets:
                end.close()

    connection = Connection(lambda gone: None)
    connection.connection_made(Sink())  # type: ignore[arg-type]
    body = bytes(1 << 20)
    sending = asyncio.create_task(connection.request(head_for(body), body, soon()))
    seen = []
    while sum(written) < len(body):
        await asyncio.sleep(0)
        seen.append(sum(written))
    assert len(set(seen)) >= 4
    sending.cancel()
    await asyncio.wait([sending])
    connection.finish()


async def test_a_caller_that_does_not_read_stops_the_server() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(b"10000\r\n" + bytes(65536) + b"\r\n")
            sent += 65536

    async with connected(script) as (connection, _):
        await connection.request(HEAD, BODY, soon())
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 32 * 1024 * 1024
        # Reading lets it go on.
        while sent < before + 1024 * 1024:
            assert len(await connection.read(LONG_S)) <= 1024 * 1024


async def test_a_paused_connection_is_read_again_for_the_next_request() -> None:
    async with connected(serving(response(bytes(1 << 20)))) as (connection, _):
        for _ in range(3):
            await connection.request(HEAD, BODY, soon())
            size = 0
            while size < 1 << 20:
                # Nothing is taken for a while, so that the buffer fills.
                await asyncio.sleep(0.01)
                size += len(await connection.read(LONG_S))
            assert connection.finish()


# Cancelled at every place where it can wait.


async def cancelled(waiting: asyncio.Task[object], connection: Connection, server: RawServer) -> None:
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not connection.finish()


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"])
async def test_cancelled_while_it_waits_for_a_head(sent: bytes) -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        arrived.set()
        await peer.left()

    async with connected(script) as (connection, server):
        waiting = asyncio.create_task(connection.request(HEAD, BODY, soon()))
        await arrived.wait()
        await cancelled(waiting, connection, server)
        await server.all_gone()


async def test_cancelled_while_it_waits_for_content() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"3\r\none\r\n")
        await peer.left()

    async with connected(script) as (connection, server):
        await connection.request(HEAD, BODY, soon())
        await connection.read(LONG_S)
        waiting = asyncio.create_task(connection.read(LONG_S))
        await asyncio.sleep(0)
        await cancelled(waiting, connection, server)
        await server.all_gone()


async def test_cancelled_while_it_sends() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await peer.left()

    async with connected(script) as (connection, server):
        waiting = asyncio.create_task(connection.request(head_for(LARGE), LARGE, soon()))
        await arrived.wait()
        await cancelled(waiting, connection, server)
        await server.all_gone()


async def test_cancelled_together_with_the_answer() -> None:
    async with connected(serving(response(b"hello"))) as (connection, _):
        waiting = asyncio.create_task(connection.request(HEAD, BODY, soon()))
        while not connection.begun:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        # All of it has come: nothing of it can reach the next request.
        assert connection.finish()
        assert await exchange(connection) == (200, b"hello")


async def test_closing_ends_what_waits() -> None:
    async def script(peer: Peer) -> None:
        await peer.left()

    async with connected(script) as (connection, _):
        waiting = asyncio.create_task(connection.request(HEAD, BODY, soon()))
        await asyncio.sleep(0)
        connection.abort()
        with pytest.raises(Closed):
            await waiting
