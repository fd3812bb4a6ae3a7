"""Several workers on the same accounts, whatever they do in whatever order, and if some of them die."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from gateway.config.schema import Limits
from gateway.state.ledger.accounts import Accounts, Taken
from gateway.state.ledger.base import NANO, Ask, Kind, Refusal, Used
from gateway.state.ledger.lease import Grant, Lease, Reservation
from gateway.state.ledger.ledger import Ledger
from gateway.state.ledger.redis import RedisAccounts
from gateway.state.ledger.sqlite import SqliteAccounts
from gateway.state.ledger.window import LEASE_SHARE
from tests.gateway.state.conftest import Clock, Outages
from tests.gateway.state.ledger.book import Book
from tests.support.redis_server import RedisServer

WORKERS = 3
LIMITS = Limits(rpm=200, tpm=20_000, usd_per_day=30_000 / NANO)
BUDGET = 30_000
BOUNDLESS = Limits(rpm=10**9, tpm=10**9, usd_per_day=1)
START = 86_400.0 * 20_000 - 90.5


@dataclass
class Run:
    """A request that was let in, and what it holds or took."""

    worker: int
    at: float
    reservation: Reservation
    requests: int
    tokens: int
    money: int


class Nowhere:
    """What a dead worker would have told the accounts."""

    def settle(self, lease: Lease) -> None:
        """Nobody hears it."""


NOWHERE = Nowhere()


class Workers(RuleBasedStateMachine):
    """The truth is `runs`: when each request was let in, to the fraction of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(START)
        self.outages = Outages()
        self.loop = asyncio.Runner()
        self.shared: Any = None
        self.runs: list[Run] = []
        self.open: list[Run] = []
        self.dead: list[Any] = []
        """The accounts of workers that died, to be closed in the end."""

    def accounts(self) -> Accounts:
        """Open the accounts that all workers share."""
        if self.shared is None:
            self.shared = Book(self.clock)
        opened: Book = self.shared
        return opened

    def worker(self, number: int) -> Ledger:
        """Every process counts its seconds from a point of its own."""
        return Ledger(self.accounts(), lambda: self.clock.now - START + 1000 * number)

    @initialize()
    def begin(self) -> None:
        self.workers = [self.worker(number) for number in range(WORKERS)]

    @rule(
        number=st.integers(0, WORKERS - 1),
        callers=st.sampled_from([1, 1, 1, 3, 20]),
        leave=st.integers(0, 30),
        tokens=st.sampled_from([0, 10, 100, 3000]),
        money=st.sampled_from([0, 100, 1000]),
        open_ended=st.booleans(),
    )
    def reserve(
        self, number: int, callers: int, leave: int, tokens: int, money: int, open_ended: bool
    ) -> None:
        least = (0, 0) if open_ended else (tokens, money)
        ask = Ask(tokens, money, *least)

        async def come_and_go() -> list[Any]:
            reserving = [
                asyncio.create_task(self.workers[number].reserve("t", LIMITS, ask)) for _ in range(callers)
            ]
            for _ in range(3):
                await asyncio.sleep(0)
            if leave < callers:
                reserving[leave].cancel()
            return await asyncio.gather(*reserving, return_exceptions=True)

        outcomes = self.loop.run(come_and_go())
        for outcome in outcomes:
            if isinstance(outcome, Grant):
                held = outcome.reservation
                run = Run(number, self.clock.now, held, 1, held.tokens, held.nano_usd)
                self.runs.append(run)
                self.open.append(run)
            elif isinstance(outcome, Refusal):
                self.is_justified(outcome)
            else:
                assert isinstance(outcome, asyncio.CancelledError)
        self.is_within_the_limits()

    @rule(amount=st.integers(1, 25), share=st.sampled_from([0.0, 0.1, 0.9, 1.0]), sent=st.booleans())
    def settle(self, amount: int, share: float, sent: bool) -> None:
        async def settle() -> None:
            for run in self.open[:amount]:
                run.requests = int(sent)
                run.tokens, run.money = int(share * run.tokens), int(share * run.money)
                self.workers[run.worker].settle(run.reservation, Used(run.requests, run.tokens, run.money))
            del self.open[:amount]

        self.loop.run(settle())

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.7, 1.0, 1.6, 20.0, 59.4, 60.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: len(self.dead) < 2)
    @rule(number=st.integers(0, WORKERS - 1))
    def die(self, number: int) -> None:
        """Its leases are lost, and its requests count as what they reserved."""
        worker: Any = self.workers[number]
        worker._accounts, accounts = NOWHERE, worker._accounts
        self.dead.append(accounts)
        self.lose(accounts)
        self.workers[number] = self.worker(number)
        self.open = [run for run in self.open if run.worker != number]

    def lose(self, accounts: Any) -> None:
        """Forget what waits to be recorded."""

    def is_within_the_limits(self) -> None:
        recent = [run for run in self.runs if run.at > self.clock.now - 60]
        assert LIMITS.rpm is not None and sum(run.requests for run in recent) <= LIMITS.rpm
        assert LIMITS.tpm is not None and sum(run.tokens for run in recent) <= LIMITS.tpm
        assert self.spent() <= BUDGET

    def is_justified(self, refusal: Refusal) -> None:
        """Others hold back little, and what their leases still held when they died."""
        assert refusal.used + refusal.asked > refusal.limit
        if self.dead:
            return
        since = int(self.clock.now) - 60
        recent = [run for run in self.runs if int(run.at) >= since]
        used = {
            Kind.REQUESTS: sum(run.requests for run in recent),
            Kind.TOKENS: sum(run.tokens for run in recent),
            Kind.USD: self.spent(),
        }[refusal.kind]
        held_back = (WORKERS - 1) * refusal.limit // LEASE_SHARE
        assert used + refusal.asked + held_back > refusal.limit

    def spent(self) -> int:
        day = self.clock.now // 86_400
        return sum(run.money for run in self.runs if run.at // 86_400 == day)

    def teardown(self) -> None:
        async def finish() -> tuple[int, int, int]:
            for one in (*self.workers, *self.dead):
                await one.close()
            accounts = self.accounts()
            taken = await accounts.take("t", BOUNDLESS, Ask(), 1)
            assert isinstance(taken, Taken)
            await accounts.close()
            return taken.before.requests, taken.before.tokens, taken.before.spent

        try:
            self.settle(len(self.open), 0.5, True)
            counted = self.loop.run(finish())
            since = int(self.clock.now) - 60
            recent = [run for run in self.runs if int(run.at) >= since]
            used = sum(run.requests for run in recent), sum(run.tokens for run in recent), self.spent()
            if self.dead:
                assert all(account >= true for account, true in zip(counted, used, strict=True))
            else:
                assert counted == used
        finally:
            self.loop.close()


class StoreWorkers(Workers):
    """Over a store that is told what became of a lease some time later."""

    def lose(self, accounts: Any) -> None:
        accounts._unsettled.clear()

    def is_justified(self, refusal: Refusal) -> None:
        # What others settled a moment ago may not be recorded yet.
        assert refusal.used + refusal.asked > refusal.limit


class FileWorkers(StoreWorkers):
    """Over one file."""

    def accounts(self) -> Accounts:
        if self.shared is None:
            self.shared = tempfile.TemporaryDirectory()
        return SqliteAccounts(Path(self.shared.name) / "state.db", self.outages, self.clock)  # type: ignore[arg-type]

    def teardown(self) -> None:
        super().teardown()
        self.shared.cleanup()


def test_no_minute_and_no_day_takes_more_than_the_limits() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Workers, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


def test_no_minute_takes_more_over_one_file() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        FileWorkers, settings=settings(max_examples=25, stateful_step_count=40, deadline=None)
    )


@pytest.mark.long
def test_no_minute_takes_more_over_redis(redis_server: RedisServer) -> None:
    class RedisWorkers(StoreWorkers):
        """Over one server."""

        def accounts(self) -> Accounts:
            if self.shared is None:
                self.shared = redis_server
                with Redis.from_url(redis_server.url) as client:
                    client.flushall()
            return RedisAccounts(redis_server.url, self.outages, self.clock)  # type: ignore[arg-type]

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        RedisWorkers,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
