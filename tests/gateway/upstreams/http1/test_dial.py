from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from gateway.upstreams.http1.client import Client
from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.dial import dial, tls_context
from gateway.upstreams.http1.errors import ConnectFailed, ConnectTimeout
from gateway.upstreams.http1.origin import Origin
from tests.gateway.support.raw_server import Peer, raw_server, response, serving

LONG_S = 30.0
HELLO = serving(response(b"hello"))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine trusts the authority, in the way in which one says so."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(*names).configure_cert(context)
    return context


async def get(base_url: str) -> bytes:
    client = Client(base_url, 1, LONG_S)
    try:
        answer = await client.request("GET", "/", {}, None, asyncio.get_running_loop().time() + LONG_S)
        body = b""
        while part := await answer.read(LONG_S):
            body += part
        answer.close()
        return body
    finally:
        await client.close()


async def test_tls(authority: trustme.CA, trusted: None) -> None:
    spoken = []

    async def script(peer: Peer) -> None:
        spoken.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await HELLO(peer)

    async with raw_server(script, certified(authority, "127.0.0.1")) as server:
        assert await get(server.url) == b"hello"
        await server.all_gone()
    assert spoken == ["http/1.1"]


async def test_a_large_request_over_tls(authority: trustme.CA, trusted: None) -> None:
    body, got = bytes(range(256)) * 8192, []

    async def script(peer: Peer) -> None:
        got.append((await peer.request())[1])
        await peer.send(response(got[0]))
        await peer.left()

    async with raw_server(script, certified(authority, "127.0.0.1")) as server:
        client = Client(server.url, 1, LONG_S)
        answer = await client.request("POST", "/", {}, body, asyncio.get_running_loop().time() + LONG_S)
        back = b""
        while part := await answer.read(LONG_S):
            back += part
        answer.close()
        await client.close()
        await server.all_gone()
    assert got == [body] and back == body


async def test_a_certificate_of_another_host(authority: trustme.CA, trusted: None) -> None:
    async with raw_server(HELLO, certified(authority, "elsewhere.example")) as server:
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await get(server.url)
        await server.all_gone()


async def test_a_certificate_that_nobody_vouches_for(trusted: None) -> None:
    async with raw_server(HELLO, certified(trustme.CA(), "127.0.0.1")) as server:
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await get(server.url)
        await server.all_gone()


async def test_authorities_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> ssl.SSLContext:
        raise OSError("no such file")

    monkeypatch.setattr("gateway.upstreams.http1.dial.tls_context", unreadable)
    async with raw_server(HELLO) as server:
        with pytest.raises(ConnectFailed, match="no such file"):
            await get(server.url.replace("http:", "https:"))
        await server.all_gone()


async def test_a_server_that_does_not_speak_tls(trusted: None) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.left()

    async with raw_server(script) as server:
        with pytest.raises(ConnectFailed):
            await get(server.url.replace("http:", "https:"))
        await server.all_gone()


async def test_a_handshake_that_never_ends(trusted: None) -> None:
    async def script(peer: Peer) -> None:
        await peer.left()

    async with raw_server(script) as server:
        origin = Origin.of(server.url.replace("http:", "https:"))
        with pytest.raises(ConnectTimeout):
            await dial(origin, lambda: Connection(lambda gone: None), 0.1)
        await server.all_gone()


async def test_cancelled_within_the_handshake(trusted: None) -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        arrived.set()
        await peer.left()

    async with raw_server(script) as server:
        waiting = asyncio.create_task(get(server.url.replace("http:", "https:")))
        await arrived.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        await server.all_gone()


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectFailed):
            await get(f"http://127.0.0.1:{unused.getsockname()[1]}")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70, "a..b"])
async def test_no_such_name(host: str) -> None:
    with pytest.raises(ConnectFailed):
        await get(f"http://{host}/")


async def test_one_dead_address_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose IPv6 address leads nowhere is reached by IPv4, without waiting for a timeout."""
    async with raw_server(HELLO) as server:
        loop = asyncio.get_running_loop()
        dead = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 1, 0, 0))
        alive = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", server.port))

        async def both(*arguments: object, **named: object) -> list[object]:
            return [dead, alive]

        class Loop:
            """The loop with a resolver of its own: a loop in C takes no other method."""

            getaddrinfo = staticmethod(both)
            create_connection = loop.create_connection

            def __getattr__(self, name: str) -> object:
                return getattr(loop, name)

        monkeypatch.setattr("gateway.upstreams.http1.dial.asyncio.get_running_loop", Loop)
        lost = asyncio.Event()
        origin = Origin("both.example", server.port, False, "both.example", "")
        connection = await dial(origin, lambda: Connection(lambda gone: lost.set()), LONG_S)
        connection.abort()
        await lost.wait()
