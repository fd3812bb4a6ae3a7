"""What a Redis URL says: where the server is, how to speak to it, and what it is told first."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
import uvloop

from semantic_cache.errors import BadStoreUrl, StoreUnavailable
from semantic_cache.store.open import open_store
from semantic_cache.store.redis_address import RedisAddress
from tests.semantic_cache.support.samples import Clock, entry, key
from tests.support.redis_server import RedisServer, running_redis


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """The loops that a store may run on; their transports differ."""
    return request.param  # type: ignore[no-any-return]


async def puts_and_gets(url: str, now: float) -> None:
    store = open_store(url, clock=lambda: now)
    try:
        assert await store.put(key("a"), entry(now))
        assert await store.get(key("a")) == entry(now)
    finally:
        await store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with a password that listens on a Unix socket too."""
    directory = tmp_path_factory.mktemp("redis")
    options = ("--requirepass", "p@ss word", "--unixsocket", str(directory / "redis.sock"))
    with running_redis(directory, *options) as server:
        yield server


def socket_of(server: RedisServer) -> Path:
    return server._directory / "redis.sock"


def test_a_connection_begins_with_what_the_url_says(
    server: RedisServer, clock: Clock, run: Callable[..., None]
) -> None:
    async def seen() -> None:
        store = open_store(
            f"redis://:p%40ss%20word@127.0.0.1:{server.port}/3?client_name=forebay", clock=clock
        )
        assert await store.put(key("a"), entry(clock()))
        assert await store.get(key("a")) is not None
        with redis.Redis(port=server.port, password="p@ss word") as raw:
            ours = [client for client in raw.client_list() if client["name"] == "forebay"]
        assert [client["db"] for client in ours] == ["3", "3"]
        await store.close()

    run(seen())


def test_a_unix_socket(server: RedisServer, clock: Clock, run: Callable[..., None]) -> None:
    run(puts_and_gets(f"unix://default:p%40ss%20word@{socket_of(server)}?db=1", clock()))


@contextlib.asynccontextmanager
async def tls_in_front_of(server: RedisServer, authority: trustme.CA) -> AsyncIterator[int]:
    """Speak TLS on a port of its own, and pass everything on to the server in the clear."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with proxy:
        yield proxy.sockets[0].getsockname()[1]


def test_tls_with_a_certificate_that_is_looked_at(
    server: RedisServer, clock: Clock, tmp_path: Path, run: Callable[..., None]
) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(trusted)

    async def over_tls() -> None:
        async with tls_in_front_of(server, authority) as port:
            url = f"rediss://:p%40ss%20word@127.0.0.1:{port}/0"
            await puts_and_gets(f"{url}?ssl_ca_certs={trusted}", clock())
            await puts_and_gets(f"{url}?ssl_cert_reqs=none", clock())
            # Signed by nobody whom this machine knows.
            with pytest.raises(StoreUnavailable):
                await puts_and_gets(url, clock())

    run(over_tls())


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/0?health_check_interval=5",
        "redis://h:port/0",
        "rediss://h/0?ssl_cert_reqs=perhaps",
        "rediss://h/0?ssl_ca_certs=/no/such/file",
        "redis://h/0?ssl_cert_reqs=none",
        "unix://",
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadStoreUrl):
        open_store(url)


def test_what_a_url_leaves_out() -> None:
    assert RedisAddress.of("redis://") == RedisAddress("localhost", 6379, None, None, ())
    assert RedisAddress.of("redis://user:pass@h:1").greeting == (("AUTH", "user", "pass"),)
