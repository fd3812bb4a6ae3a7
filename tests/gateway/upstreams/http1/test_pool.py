from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.errors import Closed, ConnectFailed, TimedOut
from gateway.upstreams.http1.origin import Origin
from gateway.upstreams.http1.pool import Pool
from tests.gateway.support.raw_server import Peer, RawServer, Script, raw_server, response, serving

LONG_S = 30.0
HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HELLO = serving(response(b"hello"))


@asynccontextmanager
async def pooled(
    limit: int = 2, keep_alive_s: float = LONG_S, script: Script = HELLO
) -> AsyncIterator[tuple[Pool, RawServer]]:
    """A pool and its server; once the pool is closed, no connection is left."""
    async with raw_server(script) as server:
        pool = Pool(Origin.of(server.url), limit, LONG_S, keep_alive_s)
        try:
            yield pool, server
        finally:
            await pool.close()
            await server.all_gone()
            assert (pool.in_use, pool.idle) == (0, 0)


def soon() -> float:
    return asyncio.get_running_loop().time() + LONG_S


async def use(pool: Pool) -> Connection:
    """Have one exchange over a connection, and release it."""
    connection = await pool.acquire(soon())
    await exchange(connection)
    pool.release(connection)
    return connection


async def exchange(connection: Connection) -> None:
    await connection.request(HEAD, b"", soon())
    while await connection.read(LONG_S):
        pass


async def test_a_connection_is_kept() -> None:
    async with pooled() as (pool, server):
        first = await use(pool)
        assert (pool.in_use, pool.idle) == (0, 1)
        assert await use(pool) is first
        assert len(server.peers) == 1


async def test_the_last_used_is_the_next() -> None:
    async with pooled() as (pool, _):
        first, second = [await pool.acquire(soon()) for _ in range(2)]
        for connection in (first, second):
            await exchange(connection)
            pool.release(connection)
        assert await use(pool) is second


async def test_one_that_was_not_used_to_the_end_is_closed() -> None:
    async with pooled() as (pool, server):
        connection = await pool.acquire(soon())
        pool.release(connection)
        assert (pool.in_use, pool.idle) == (0, 0)
        await server.all_gone()


async def test_no_more_than_the_limit() -> None:
    async with pooled(limit=3) as (pool, server):
        most = 0

        async def one() -> None:
            nonlocal most
            connection = await pool.acquire(soon())
            most = max(most, pool.in_use)
            await exchange(connection)
            pool.release(connection)

        await asyncio.gather(*(one() for _ in range(50)))
        assert most == 3 and len(server.peers) == 3


async def test_who_comes_first_is_served_first() -> None:
    async with pooled(limit=1) as (pool, _):
        held = await pool.acquire(soon())
        served = []

        async def one(number: int) -> None:
            connection = await pool.acquire(soon())
            served.append(number)
            await exchange(connection)
            pool.release(connection)

        waiting = [asyncio.create_task(one(number)) for number in range(5)]
        await asyncio.sleep(0)
        await exchange(held)
        pool.release(held)
        # A place that is free goes to who has waited, and not to who comes just now.
        await one(5)
        await asyncio.gather(*waiting)
        assert served == list(range(6))


async def test_a_wait_has_an_end() -> None:
    async with pooled(limit=1) as (pool, _):
        held = await pool.acquire(soon())
        with pytest.raises(TimedOut):
            await pool.acquire(asyncio.get_running_loop().time() + 0.02)
        pool.release(held)
        await use(pool)


async def test_a_waiter_that_leaves() -> None:
    async with pooled(limit=1) as (pool, _):
        held = await pool.acquire(soon())
        leaver, stayer = [asyncio.create_task(pool.acquire(soon())) for _ in range(2)]
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.wait([leaver])
        pool.release(held)
        pool.release(await stayer)


async def test_a_waiter_that_leaves_with_its_place_in_hand() -> None:
    async with pooled(limit=1) as (pool, _):
        held = await pool.acquire(soon())
        leaver, stayer = [asyncio.create_task(pool.acquire(soon())) for _ in range(2)]
        await asyncio.sleep(0)
        pool.release(held)
        leaver.cancel()
        pool.release(await stayer)
        assert leaver.cancelled()


async def test_cancelled_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pooled(limit=1) as (pool, _):
        with monkeypatch.context() as patch:
            connecting = asyncio.Event()

            async def never(*arguments: object) -> Connection:
                connecting.set()
                await asyncio.Event().wait()
                raise AssertionError

            patch.setattr("gateway.upstreams.http1.pool.dial", never)
            waiting = asyncio.create_task(pool.acquire(soon()))
            await connecting.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
        assert pool.in_use == 0
        await use(pool)


async def test_a_connection_that_cannot_be_made_frees_its_place() -> None:
    async with raw_server(HELLO) as server:
        pool = Pool(Origin.of(server.url), 1, LONG_S)
    for _ in range(3):
        with pytest.raises(ConnectFailed):
            await pool.acquire(soon())
    assert pool.in_use == 0
    await pool.close()


async def test_one_that_the_server_has_closed_is_not_given_out() -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"hello"))

    async with pooled(script=once) as (pool, server):
        for _ in range(5):
            await use(pool)
        assert len(server.peers) == 5


async def test_an_old_one_is_closed_and_not_given_out() -> None:
    async with pooled(keep_alive_s=0.05) as (pool, server):
        first = await use(pool)
        # However late the loop is, an old connection is not used.
        first.idle_since_s -= 1
        assert await use(pool) is not first
        # And unused ones do not stay.
        await server.all_gone()
        assert pool.idle == 0


async def test_all_grow_old_by_themselves() -> None:
    async with pooled(limit=5, keep_alive_s=0.05) as (pool, server):
        for connection in [await pool.acquire(soon()) for _ in range(5)]:
            await exchange(connection)
            pool.release(connection)
            await asyncio.sleep(0.01)
        assert pool.idle > 0
        await server.all_gone()
        assert pool.idle == 0


async def test_replacing_keeps_the_place() -> None:
    async with pooled(limit=1) as (pool, _):
        dead = await pool.acquire(soon())
        waiting = asyncio.create_task(pool.acquire(soon()))
        await asyncio.sleep(0)
        fresh = await pool.replace(dead, soon())
        assert fresh is not dead and not waiting.done() and pool.in_use == 1
        pool.release(fresh)
        pool.release(await waiting)


async def test_closing_closes_all() -> None:
    async with pooled(limit=3) as (pool, server):
        # That none was left before does not mean that none is left now.
        lonely = await pool.acquire(soon())
        pool.release(lonely)
        while not lonely.lost:
            await asyncio.sleep(0)
        await use(pool)
        busy = [await pool.acquire(soon()) for _ in range(3)]
        waiting = asyncio.create_task(pool.acquire(soon()))
        await asyncio.sleep(0)
        await pool.close()
        assert all(connection.lost for connection in busy)
        with pytest.raises(Closed):
            await waiting
        for connection in busy:
            with pytest.raises(Closed):
                await exchange(connection)
            pool.release(connection)
        with pytest.raises(Closed):
            await pool.acquire(soon())
        await server.all_gone()


async def test_closing_while_one_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.upstreams.http1.dial import dial

    async with pooled() as (pool, _):
        connecting, go_on = asyncio.Event(), asyncio.Event()

        async def slow(*arguments: object) -> Connection:
            connecting.set()
            await go_on.wait()
            return await dial(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr("gateway.upstreams.http1.pool.dial", slow)
        waiting = asyncio.create_task(pool.acquire(soon()))
        await connecting.wait()
        await pool.close()
        go_on.set()
        with pytest.raises(Closed):
            await waiting
