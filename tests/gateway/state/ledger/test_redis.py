"""What is particular to accounts in Redis: answers may get lost, and scripts with them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger.accounts import Taken
from gateway.state.ledger.base import Ask, Refusal, Used
from gateway.state.ledger.lease import Grant, Lease
from gateway.state.ledger.ledger import Ledger
from gateway.state.ledger.redis import RedisAccounts
from gateway.state.ledger.redis_scripts import TAKE
from tests.support.redis_server import RedisServer, running_redis

ONE = Limits(rpm=1)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may do anything to."""
    with running_redis(tmp_path / "redis") as server:
        yield server


async def eventually_granted(ledger: Ledger, limits: Limits) -> None:
    async with asyncio.timeout(20):
        while not isinstance(await ledger.reserve("t", limits, Ask()), Grant):
            await asyncio.sleep(0.01)


async def test_a_reservation_whose_answer_was_lost_is_given_back(own: RedisServer, outages: Any) -> None:
    ledger = Ledger(RedisAccounts(own.url, outages))
    await ledger.reserve("warm", ONE, Ask())
    own.freeze()
    with pytest.raises(StateUnavailable):
        await ledger.reserve("t", ONE, Ask())
    # The frozen server has the request in its socket and carries it out now.
    own.thaw()
    await eventually_granted(ledger, ONE)
    await ledger.close()


async def test_a_caller_that_leaves_takes_nothing(own: RedisServer, outages: Any) -> None:
    ledger = Ledger(RedisAccounts(own.url, outages))
    await ledger.reserve("warm", ONE, Ask())
    own.freeze()
    waiting = asyncio.create_task(ledger.reserve("t", ONE, Ask()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    own.thaw()
    await eventually_granted(ledger, ONE)
    await ledger.close()


async def test_a_report_counts_once_however_often_and_in_whatever_order_it_arrives(
    redis_server: RedisServer, outages: Any, clock: Any
) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    accounts = RedisAccounts(redis_server.url, outages, clock)
    limits = Limits(rpm=10**6, tpm=10**6, usd_per_day=1)
    taken = await accounts.take("t", limits, Ask(60, 70, 60, 70), 10)
    assert isinstance(taken, Taken) and (taken.lease.requests, taken.lease.tokens) == (10, 600)
    lease = taken.lease
    first, second, third = (lease.hand_out(Ask(60, 70)) for _ in range(3))
    stages = []
    for step in (
        lambda: lease.settle(first, Used(1, 10, 20)),
        lambda: lease.settle(second, Used(1, 90, 100)),
        lease.give_back,
        lambda: lease.settle(third, Used()),
    ):
        step()
        stages.append(copy.copy(lease))
    # The newest but one, all before it, and then the last, each of them twice.
    for stage in (*stages[2::-1], *stages[:3], *stages[:-3:-1], *stages):
        accounts.settle(stage)
        await accounts._settle_all()
    with Redis.from_url(redis_server.url) as client:
        kept = client.hgetall("forebay:{t}:taken"), client.hgetall("forebay:{t}:spent")
        assert not client.keys("*hold*")
    second_s = int(clock.now)
    assert kept[0] == {b"r%d" % second_s: b"2", b"t%d" % second_s: b"100"}
    assert kept[1] == {b"%d" % (second_s // 86400): b"120"}
    await accounts.close()


async def test_a_lease_that_was_given_up_before_it_was_taken_takes_nothing(
    redis_server: RedisServer, outages: Any, clock: Any
) -> None:
    """Scripts of different connections may overtake each other."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        accounts = RedisAccounts(redis_server.url, outages, clock)
        accounts.settle(Lease("t", 0, 0, 0, 0, 0, "late"))
        await accounts._settle_all()
        with pytest.raises(ResponseError, match="GONE"):
            await accounts._run(TAKE, "t", ["late"], (5, -1, -1, 0, 0, 0, 0, 1))
        assert client.hgetall("forebay:{t}:taken") == {}
        assert [0 < client.ttl(key) <= 60 for key in client.keys("*hold*")] == [True]
        await accounts.close()


async def test_a_settlement_outlives_an_outage(own: RedisServer, outages: Any) -> None:
    ledger = Ledger(RedisAccounts(own.url, outages))
    grant = await ledger.reserve("t", ONE, Ask())
    assert isinstance(grant, Grant)
    own.freeze()
    ledger.settle(grant.reservation, Used())
    with pytest.raises(StateUnavailable):
        await ledger.reserve("t", ONE, Ask())
    own.thaw()
    await eventually_granted(ledger, ONE)
    await ledger.close()


async def test_a_server_that_forgot_the_scripts_is_told_again(
    redis_server: RedisServer, outages: Any
) -> None:
    ledger = Ledger(RedisAccounts(redis_server.url, outages))
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        await eventually_granted(ledger, ONE)
        client.script_flush()
        assert isinstance(await ledger.reserve("t", ONE, Ask()), Refusal)
    await ledger.close()


async def test_everything_in_redis_ends_by_itself(redis_server: RedisServer, outages: Any) -> None:
    ledger = Ledger(RedisAccounts(redis_server.url, outages))
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        await ledger.reserve("t", Limits(rpm=9, usd_per_day=1), Ask(5, 5, 5, 5))
        kept = {key.decode(): client.ttl(key) for key in client.keys("*")}
    assert len(kept) == 3 and all(0 < ttl <= 3 * 86400 for ttl in kept.values())
    assert all("{t}" in name for name in kept)
    await ledger.close()


async def test_without_a_clock_of_ours_time_is_the_servers(redis_server: RedisServer, outages: Any) -> None:
    ledger = Ledger(RedisAccounts(redis_server.url, outages))
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        before = client.time()[0]
        grant = await ledger.reserve("t", ONE, Ask())
        assert isinstance(grant, Grant)
        assert before <= grant.reservation.lease.second <= client.time()[0]
    await ledger.close()
