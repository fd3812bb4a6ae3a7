from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.upstreams.http1.client import Client, Response
from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.errors import Closed, HttpError, ProtocolError, TimedOut, Unsent
from tests.gateway.support.raw_server import Peer, RawServer, Script, raw_server, response, serving

LONG_S = 30.0


@asynccontextmanager
async def talking(script: Script, limit: int = 2) -> AsyncIterator[tuple[Client, RawServer]]:
    """A client and its server; at the end no connection is in use, and none is left."""
    async with raw_server(script) as server:
        client = Client(server.url, limit, LONG_S)
        try:
            yield client, server
            assert client.in_use == 0
        finally:
            await client.close()
            await server.all_gone()


async def ask(client: Client, method: str = "POST", body: bytes | None = b"{}") -> Response:
    deadline_s = asyncio.get_running_loop().time() + LONG_S
    return await client.request(method, "/x", {"accept": "a/b"}, body, deadline_s)


async def whole(answer: Response) -> bytes:
    try:
        parts = []
        while part := await answer.read(LONG_S):
            parts.append(part)
        return b"".join(parts)
    finally:
        answer.close()


async def test_what_is_sent() -> None:
    got = []

    async def script(peer: Peer) -> None:
        while True:
            got.append(await peer.request())
            await peer.send(response(b"hello"))

    async with talking(script) as (client, server):
        assert await whole(await ask(client)) == b"hello"
        assert await whole(await ask(client, "GET", None)) == b"hello"
        host = f"host: 127.0.0.1:{server.port}\r\naccept: a/b\r\n"
    assert got == [
        (f"POST /v1/x HTTP/1.1\r\n{host}content-length: 2\r\n\r\n".encode(), b"{}"),
        (f"GET /v1/x HTTP/1.1\r\n{host}\r\n".encode(), b""),
    ]


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    sent = response(b"", "307 Temporary Redirect", "location: /elsewhere")
    async with talking(serving(sent)) as (client, server):
        answer = await ask(client)
        assert (answer.status, answer.headers["location"]) == (307, "/elsewhere")
        assert await whole(answer) == b""
        assert len(server.peers) == 1


async def test_many_at_once() -> None:
    async with talking(serving(response(b"hello")), limit=5) as (client, server):

        async def one() -> bytes:
            return await whole(await ask(client))

        assert set(await asyncio.gather(*(one() for _ in range(100)))) == {b"hello"}
        assert len(server.peers) == 5


async def test_closing_early_closes_the_connection_and_closing_late_keeps_it() -> None:
    sent = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"
    async with talking(serving(sent)) as (client, server):
        answer = await ask(client)
        answer.close()
        answer.close()
        await server.all_gone()
        with pytest.raises(Closed):
            await answer.read(LONG_S)
    async with talking(serving(response(b"hello"))) as (client, server):
        for _ in range(3):
            (await ask(client)).close()
        assert len(server.peers) == 1


async def test_an_old_response_cannot_disturb_the_next_one() -> None:
    async with talking(serving(response(b"hello"))) as (client, _):
        old = await ask(client)
        assert await whole(old) == b"hello"
        new = await ask(client)
        old.close()
        assert await whole(new) == b"hello"


async def test_content_that_is_encoded_unasked() -> None:
    text = b"water " * 200_000
    sent = response(gzip.compress(text), "200 OK", "content-encoding: GZip")
    async with talking(serving(sent)) as (client, server):
        assert await whole(await ask(client)) == text
        assert await whole(await ask(client)) == text
        assert len(server.peers) == 1


@pytest.mark.parametrize("encoding", ["", " Identity"])
async def test_content_that_is_not_encoded(encoding: str) -> None:
    sent = response(b"hello", "200 OK", f"content-encoding:{encoding}")
    async with talking(serving(sent)) as (client, _):
        assert await whole(await ask(client)) == b"hello"


async def test_content_in_an_encoding_that_is_not_known() -> None:
    sent = response(b"hello", "200 OK", "content-encoding: br")
    async with talking(serving(sent)) as (client, _):
        with pytest.raises(ProtocolError, match="br"):
            await ask(client)


async def test_an_encoded_content_that_is_cut() -> None:
    sent = response(gzip.compress(b"hello")[:-3], "200 OK", "content-encoding: gzip")
    async with talking(serving(sent)) as (client, _):
        with pytest.raises(ProtocolError, match="cut short"):
            await whole(await ask(client))


async def test_a_header_that_would_end_a_line_is_not_sent() -> None:
    async with talking(serving(response(b"hello"))) as (client, server):
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            await client.request("GET", "/x", {"name": "a\r\nb: c"}, None, 0)
        assert server.peers == []


# A kept connection that ends just when it is used again.


def answering(*numbers: int) -> tuple[Script, list[bytes]]:
    """A script that answers the first so many requests of each connection and closes it on the next."""
    got: list[bytes] = []
    left = iter(numbers)

    async def script(peer: Peer) -> None:
        for _ in range(next(left)):
            got.append((await peer.request())[0])
            await peer.send(response(b"hello"))
        got.append((await peer.request())[0])

    return script, got


async def test_a_get_is_sent_again() -> None:
    script, got = answering(1, 1)
    async with talking(script) as (client, server):
        for _ in range(2):
            assert await whole(await ask(client, "GET", None)) == b"hello"
        assert len(got) == 3 and len(server.peers) == 2


async def test_a_post_that_the_server_has_read_is_not() -> None:
    script, got = answering(1, 1)
    async with talking(script) as (client, server):
        assert await whole(await ask(client)) == b"hello"
        with pytest.raises(Closed):
            await ask(client)
        assert len(got) == 2 and len(server.peers) == 1


async def test_only_once() -> None:
    script, got = answering(1, 0, 0)
    async with talking(script) as (client, _):
        assert await whole(await ask(client, "GET", None)) == b"hello"
        with pytest.raises(Closed):
            await ask(client, "GET", None)
        assert len(got) == 3


async def test_not_on_a_new_connection() -> None:
    script, got = answering(0, 0)
    async with talking(script) as (client, _):
        with pytest.raises(Closed):
            await ask(client, "GET", None)
        assert len(got) == 1


async def test_not_if_an_answer_has_begun() -> None:
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        await peer.request()
        await peer.send(response(b"hello"))
        await peer.request()
        await peer.send(b"HTTP/1.1 200")

    async with talking(script) as (client, _):
        assert await whole(await ask(client, "GET", None)) == b"hello"
        with pytest.raises(Closed):
            await ask(client, "GET", None)
        assert connections == 1


async def test_a_post_whose_write_failed_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(serving(response(b"hello"))) as (client, server):
        assert await whole(await ask(client)) == b"hello"
        request = Connection.request

        async def broken_pipe(self: Connection, head: bytes, body: bytes, deadline_s: float) -> None:
            """What the loop does when a write finds the connection gone."""
            monkeypatch.setattr(Connection, "request", request)
            self._transport.abort()
            self._response.expect()
            self.connection_lost(BrokenPipeError(32, "Broken pipe"))
            await request(self, head, body, deadline_s)

        monkeypatch.setattr(Connection, "request", broken_pipe)
        assert await whole(await ask(client)) == b"hello"
        assert len(server.peers) == 2


async def test_a_reset_is_no_proof_that_nothing_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(serving(response(b"hello"))) as (client, _):
        connection = await client._pool.acquire(asyncio.get_running_loop().time() + LONG_S)
        connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
        assert isinstance(connection._failure, Closed) and not isinstance(connection._failure, Unsent)
        connection._transport.abort()
        client._pool.release(connection)


# Cancelled, at each place.


async def test_cancelled_at_every_step() -> None:
    """The client is cancelled after one turn of the loop, after two, and so on until the answer is whole."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
            await asyncio.sleep(0)
            await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async def one(client: Client) -> bytes:
        return await whole(await ask(client))

    async with raw_server(script) as server:
        turns, done = 0, False
        while not done:
            turns += 1
            client = Client(server.url, 1, LONG_S)
            asking = asyncio.create_task(one(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = asking.done()
            asking.cancel()
            await asyncio.wait([asking])
            assert client.in_use == 0
            # The one place is free, and what comes next is a whole answer of its own.
            assert await one(client) == b"onetwo"
            await client.close()
            await server.all_gone()
        assert turns > 3


async def test_a_deadline_holds_for_all_of_it() -> None:
    async def silent(peer: Peer) -> None:
        await peer.left()

    async with talking(silent, limit=1) as (client, server):
        for _ in range(2):
            with pytest.raises(TimedOut):
                await client.request("GET", "/x", {}, None, asyncio.get_running_loop().time() + 0.05)
        with pytest.raises(TimedOut):
            await client.request("GET", "/x", {}, None, 0)
        await server.all_gone()


async def test_closing_ends_what_is_under_way() -> None:
    async def silent(peer: Peer) -> None:
        await peer.left()

    async with talking(silent, limit=1) as (client, server):
        asking = [asyncio.create_task(ask(client)) for _ in range(2)]
        while not server.peers:
            await asyncio.sleep(0)
        await client.close()
        for task in asking:
            with pytest.raises(HttpError):
                await task
