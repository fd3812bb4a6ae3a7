"""A ledger over each store against a model that remembers every single event."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.schema import Limits
from gateway.state.ledger.accounts import Accounts
from gateway.state.ledger.base import NANO, Ask, Kind, Refusal, Used
from gateway.state.ledger.lease import Reservation
from gateway.state.ledger.ledger import Ledger
from gateway.state.ledger.redis import RedisAccounts
from gateway.state.ledger.sqlite import SqliteAccounts
from tests.support.ledgers import recorded


@dataclass
class Model:
    """Events of (second, requests, tokens), and money by day; nothing is ever summed up in advance."""

    events: list[tuple[int, int, int]] = field(default_factory=list)
    money: list[tuple[int, int]] = field(default_factory=list)

    def used(self, now: float) -> tuple[int, int, int]:
        recent = [event for event in self.events if event[0] >= math.floor(now) - 60]
        today = [amount for day, amount in self.money if day == now // 86400]
        return sum(event[1] for event in recent), sum(event[2] for event in recent), sum(today)

    def reserve(self, limits: Limits, ask: Ask, now: float) -> tuple[int, int] | Kind:
        requests, tokens, money = self.used(now)
        if limits.rpm is not None and requests + 1 > limits.rpm:
            return Kind.REQUESTS
        take, pay = ask.tokens, ask.nano_usd
        if limits.tpm is not None:
            take = min(take, limits.tpm - tokens)
            if take < ask.least_tokens:
                return Kind.TOKENS
        if limits.usd_per_day is not None:
            pay = min(pay, round(limits.usd_per_day * NANO) - money)
            if pay < ask.least_nano_usd:
                return Kind.USD
        self.events.append((math.floor(now), 1, take))
        self.money.append((int(now // 86400), pay))
        return take, pay

    def settle(self, reservation: Reservation, used: Used, now: float) -> None:
        difference = used.tokens - reservation.tokens
        lease = reservation.lease
        self.events.append((lease.second, used.requests - 1, min(0, difference)))
        self.events.append((math.floor(now), 0, max(0, difference)))
        self.money.append((lease.day, used.nano_usd - reservation.nano_usd))


amounts = st.integers(0, 60)
steps = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.4, 1.0, 7.3, 29.9, 60.0, 61.0, 7000.0])),
    st.tuples(st.just("reserve"), amounts, amounts, amounts, amounts),
    st.tuples(st.just("settle"), st.integers(0, 5), st.booleans(), amounts, amounts),
)
some_limits = st.builds(
    Limits,
    # Small ones, where every request is reserved by itself, and some that there are leases for.
    rpm=st.none() | st.integers(1, 6) | st.just(200),
    tpm=st.none() | st.integers(1, 120) | st.just(4000),
    usd_per_day=st.none() | (st.integers(0, 100) | st.just(4000)).map(lambda nano: nano / NANO),
)


async def run(ledger: Ledger, clock: Any, limits: Limits, script: list[tuple[Any, ...]]) -> None:
    model, open_ones = Model(), []
    for step in script:
        if step[0] == "wait":
            clock.now += step[1]
        elif step[0] == "reserve":
            tokens, least_tokens, money, least_money = step[1:]
            ask = Ask(max(tokens, least_tokens), max(money, least_money), least_tokens, least_money)
            outcome = await ledger.reserve("t", limits, ask)
            expected = model.reserve(limits, ask, clock.now)
            if isinstance(outcome, Refusal):
                assert outcome.kind == expected
            else:
                assert (outcome.reservation.tokens, outcome.reservation.nano_usd) == expected
                open_ones.append(outcome.reservation)
            requests, used, _ = model.used(clock.now)
            standing = outcome.standing
            if standing.requests is not None:
                assert standing.requests.remaining == max(0, standing.requests.limit - requests)
            if standing.tokens is not None:
                assert standing.tokens.remaining == max(0, standing.tokens.limit - used)
        elif open_ones:
            reservation = open_ones.pop(step[1] % len(open_ones))
            used_up = Used(int(step[2]), step[3], step[4])
            ledger.settle(reservation, used_up)
            model.settle(reservation, used_up, clock.now)
            await recorded(ledger, every_s=0)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=some_limits, script=st.lists(steps, max_size=40))
def test_a_ledger_does_what_the_model_does(
    kind: str,
    request: Any,
    clock: Any,
    outages: Any,
    prompt: None,
    limits: Limits,
    script: list[tuple[Any, ...]],
) -> None:
    clock.now = 1_800_000_000.25

    async def on(make: Callable[[], Accounts]) -> None:
        ledger = Ledger(make(), clock)
        try:
            await run(ledger, clock, limits, script)
        finally:
            await ledger.close()

    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(on(lambda: SqliteAccounts(Path(folder) / "state.db", outages, clock)))
    else:
        server = request.getfixturevalue("redis_server")
        from redis import Redis

        with Redis.from_url(server.url) as client:
            client.flushall()
        asyncio.run(on(lambda: RedisAccounts(server.url, outages, clock)))
    assert outages.failures == []
