"""What a worker does with leases, over accounts that a test holds in its hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger.accounts import Taken
from gateway.state.ledger.base import Ask, Refusal, Used
from gateway.state.ledger.lease import Grant, Lease
from gateway.state.ledger.ledger import LARGEST_LEASE, Ledger
from gateway.state.ledger.window import LEASE_SHARE
from tests.gateway.state.ledger.book import Book

FAR = Limits(rpm=100_000, tpm=10**9, usd_per_day=1000)
ASK = Ask(10, 20, 10, 20)


class Slow(Book):
    """Accounts that decide when a test opens their door, and answer when it opens the one on the way back."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.asked = 0
        self.sizes: list[int] = []
        """Requests of each lease."""
        self.door, self.open = asyncio.Event(), asyncio.Event()
        self.door.set()
        self.open.set()
        self.broken = False

    async def take(self, tenant: str, limits: Limits, ask: Ask, times: int) -> Taken | Refusal:
        self.asked += 1
        await self.door.wait()
        if self.broken:
            await self.open.wait()
            raise StateUnavailable("Out of order.")
        taken = await super().take(tenant, limits, ask, times)
        if isinstance(taken, Taken):
            self.sizes.append(taken.lease.requests)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            if isinstance(taken, Taken):
                taken.lease.give_back()
                self.settle(taken.lease)
            raise
        return taken


@pytest.fixture
async def accounts(clock: Any) -> Slow:
    return Slow(clock)


@pytest.fixture
def ledger(accounts: Slow, clock: Any) -> Ledger:
    return Ledger(accounts, clock)


async def grant(ledger: Ledger, ask: Ask = ASK, limits: Limits = FAR) -> Grant:
    outcome = await ledger.reserve("t", limits, ask)
    assert isinstance(outcome, Grant)
    return outcome


async def turns() -> None:
    """Let everybody go on as far as he can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_leases_grow_while_they_are_used_up(ledger: Ledger, accounts: Slow) -> None:
    for _ in range(1000):
        await grant(ledger)
    assert accounts.sizes[:6] == [1, 1, 2, 4, 8, 16] and max(accounts.sizes) == LARGEST_LEASE
    assert len(accounts.sizes) < 20


async def test_one_request_a_second_is_reserved_by_itself(ledger: Ledger, accounts: Slow, clock: Any) -> None:
    for _ in range(10):
        ledger.settle((await grant(ledger)).reservation, Used(1, 5, 5))
        clock.now += 1
    assert accounts.sizes == [1] * 10


async def test_a_lease_ends_with_its_second(ledger: Ledger, accounts: Slow, clock: Any) -> None:
    clock.now = 1_800_000_000.9
    for _ in range(3):
        first = (await grant(ledger)).reservation.lease
    assert first.free_requests == 1
    clock.now = 1_800_000_001.0
    second = (await grant(ledger)).reservation.lease
    assert (first.second, second.second) == (1_800_000_000, 1_800_000_001)
    assert accounts.sizes == [1, 1, 2, 1]
    # What was left of it went back before the next one was taken.
    assert accounts.taken("t", clock.now) == (4, 40)


async def test_what_is_left_goes_back_by_itself(ledger: Ledger, accounts: Slow, clock: Any) -> None:
    clock.now = 1_800_000_000.99
    for _ in range(3):
        await grant(ledger)
    assert accounts.taken("t", clock.now) == (4, 40)
    async with asyncio.timeout(5):
        while accounts.taken("t", clock.now) != (3, 30):
            await asyncio.sleep(0.005)


async def test_a_late_answer_is_good_for_him_alone_who_asked(
    ledger: Ledger, accounts: Slow, clock: Any
) -> None:
    accounts.open.clear()
    callers = [asyncio.create_task(grant(ledger)) for _ in range(3)]
    await turns()
    clock.now += 1
    accounts.open.set()
    leases = [reservation.lease for reservation in [(await caller).reservation for caller in callers]]
    assert leases[0].second == int(clock.now) - 1 and {lease.second for lease in leases[1:]} == {
        int(clock.now)
    }


async def test_the_way_to_the_accounts_counts_as_passed(ledger: Ledger, accounts: Slow, clock: Any) -> None:
    for _ in range(2):
        await grant(ledger)
    accounts.door.clear()
    asking = asyncio.create_task(grant(ledger))
    await turns()
    clock.now += 0.25
    accounts.door.set()
    await asking
    # They said 0.5 s, and for all that is known they may have said it at once.
    assert accounts.sizes == [1, 1, 2]
    clock.now = 1_800_000_000.76
    await grant(ledger)
    assert accounts.sizes == [1, 1, 2, 1]


async def test_callers_wait_for_one_lease(ledger: Ledger, accounts: Slow) -> None:
    accounts.open.clear()
    callers = [asyncio.create_task(grant(ledger))]
    await turns()
    callers += [asyncio.create_task(grant(ledger)) for _ in range(49)]
    await turns()
    assert accounts.asked == 1
    accounts.open.set()
    await asyncio.gather(*callers)
    assert accounts.sizes == [1, 49]


async def test_a_caller_that_leaves_takes_nothing_and_hinders_nobody(
    ledger: Ledger, accounts: Slow, clock: Any
) -> None:
    accounts.open.clear()
    callers = [asyncio.create_task(ledger.reserve("t", FAR, ASK)) for _ in range(5)]
    await turns()
    for number in (0, 3):
        callers[number].cancel()
    accounts.open.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [isinstance(outcome, Grant) for outcome in outcomes] == [False, True, True, False, True]
    await ledger.close()
    assert accounts.taken("t", clock.now) == (3, 30)


@pytest.mark.parametrize("later", range(8))
async def test_a_caller_may_leave_in_any_turn(ledger: Ledger, accounts: Slow, clock: Any, later: int) -> None:
    caller = asyncio.create_task(ledger.reserve("t", FAR, ASK))
    for _ in range(later):
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    if not caller.cancelled():
        outcome = caller.result()
        assert isinstance(outcome, Grant)
        ledger.settle(outcome.reservation, Used())
    await ledger.close()
    assert accounts.taken("t", clock.now) == (0, 0)


async def test_an_outage_is_told_to_everybody_who_waits(ledger: Ledger, accounts: Slow) -> None:
    accounts.broken = True
    accounts.open.clear()
    callers = [asyncio.create_task(grant(ledger)) for _ in range(5)]
    await turns()
    accounts.open.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(outcome, StateUnavailable) for outcome in outcomes)
    assert accounts.asked == 1
    accounts.broken = False
    await grant(ledger)


async def test_closing_leaves_nobody_waiting_and_nothing_taken(
    ledger: Ledger, accounts: Slow, clock: Any
) -> None:
    kept = [await grant(ledger) for _ in range(3)]
    await grant(ledger)
    accounts.open.clear()
    waiting = asyncio.create_task(grant(ledger))
    await turns()
    await ledger.close()
    with pytest.raises(StateUnavailable):
        await waiting
    assert accounts.taken("t", clock.now) == (len(kept) + 1, 40)


async def test_other_limits_need_another_lease(ledger: Ledger, accounts: Slow) -> None:
    for _ in range(3):
        await grant(ledger)
    fetched = accounts.asked
    lowered = await ledger.reserve("t", Limits(rpm=2), ASK)
    assert isinstance(lowered, Refusal) and lowered.used == 3 and accounts.asked == fetched + 1


async def test_a_large_request_does_not_take_what_small_ones_left(ledger: Ledger, clock: Any) -> None:
    for _ in range(3):
        await grant(ledger)
    large = (await grant(ledger, Ask(5000, 0, 5000, 0))).reservation
    assert large.tokens == 5000
    small = (await grant(ledger)).reservation
    assert small.tokens == 10


async def test_from_half_of_a_limit_on_every_request_is_reserved_by_itself(
    ledger: Ledger, accounts: Slow
) -> None:
    limits = Limits(rpm=320)
    outcomes = [await ledger.reserve("t", limits, Ask()) for _ in range(330)]
    assert [isinstance(outcome, Grant) for outcome in outcomes] == [True] * 320 + [False] * 10
    used = [outcome.standing.requests.remaining for outcome in outcomes[:320] if outcome.standing.requests]
    assert used == list(range(319, -1, -1))
    assert len(accounts.sizes) < 200 and 1 < max(accounts.sizes) <= 320 // LEASE_SHARE
    assert set(accounts.sizes[-150:]) == {1}


async def test_near_a_limit_callers_ask_side_by_side(ledger: Ledger, accounts: Slow) -> None:
    limits = Limits(rpm=30)
    for _ in range(16):
        await ledger.reserve("t", limits, Ask())
    accounts.open.clear()
    asked = accounts.asked
    callers = [asyncio.create_task(ledger.reserve("t", limits, Ask())) for _ in range(20)]
    await turns()
    assert accounts.asked == asked + 20
    accounts.open.set()
    outcomes = await asyncio.gather(*callers)
    assert sum(isinstance(outcome, Grant) for outcome in outcomes) == 14


async def test_what_comes_back_shows_at_once(ledger: Ledger) -> None:
    grants = [await grant(ledger, Ask(100, 0, 100, 0)) for _ in range(3)]
    for one in grants:
        ledger.settle(one.reservation, Used(1, 30))
    level = (await grant(ledger, Ask(100, 0, 100, 0))).standing.tokens
    assert level is not None and level.remaining == 10**9 - 3 * 30 - 100


async def test_one_long_request_does_not_hold_back_what_its_neighbours_left(
    ledger: Ledger, accounts: Slow, clock: Any
) -> None:
    grants = [await grant(ledger) for _ in range(4)]
    assert grants[2].reservation.lease is grants[3].reservation.lease
    for one in grants[:3]:
        ledger.settle(one.reservation, Used(1, 1, 1))
    assert accounts.taken("t", clock.now) == (4, 13)


def test_a_lease_reports_all_that_became_of_it() -> None:
    lease = Lease("t", 0, 0, 3, 300, 30)
    first, second = lease.hand_out(Ask(100, 10)), lease.hand_out(Ask(100, 10))
    lease.settle(first, Used(1, 40, 15))
    lease.settle(second, Used(0, 130, 2))
    assert not lease.is_over() and lease.report() == (2, 240, 22, 30, 5)
    assert lease.give_back() and not lease.give_back()
    assert lease.is_over() and lease.report() == (1, 140, 12, 30, 5)
