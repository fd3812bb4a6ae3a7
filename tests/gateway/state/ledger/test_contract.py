"""What every ledger promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.config.schema import Limits
from gateway.state.ledger.base import NANO, Ask, Kind, Refusal, Used
from gateway.state.ledger.lease import Grant
from gateway.state.ledger.ledger import Ledger
from tests.support.ledgers import recorded

RATES = Limits(rpm=3, tpm=100)
NOTHING = Ask()


async def granted(ledger: Ledger, limits: Limits, ask: Ask = NOTHING, tenant: str = "t") -> Grant:
    outcome = await ledger.reserve(tenant, limits, ask)
    assert isinstance(outcome, Grant), outcome
    return outcome


async def refused(ledger: Ledger, limits: Limits, ask: Ask = NOTHING, tenant: str = "t") -> Refusal:
    outcome = await ledger.reserve(tenant, limits, ask)
    assert isinstance(outcome, Refusal), outcome
    return outcome


def tokens(number: int) -> Ask:
    return Ask(tokens=number, least_tokens=number)


def money(usd: float) -> Ask:
    return Ask(nano_usd=round(usd * NANO), least_nano_usd=round(usd * NANO))


async def settled(ledger: Ledger, grant: Grant, used: Used) -> None:
    """Settle, and see it done: a ledger may take its time."""
    ledger.settle(grant.reservation, used)
    await recorded(ledger)


async def test_requests_are_admitted_up_to_the_limit(ledger: Ledger) -> None:
    levels = [(await granted(ledger, RATES)).standing.requests for _ in range(3)]
    assert [(level.limit, level.remaining) for level in levels if level] == [(3, 2), (3, 1), (3, 0)]
    refusal = await refused(ledger, RATES)
    assert (refusal.kind, refusal.limit, refusal.used, refusal.asked) == (Kind.REQUESTS, 3, 3, 1)
    assert refusal.standing.requests is not None and refusal.standing.requests.remaining == 0


async def test_a_minute_is_sixty_seconds_and_a_bit_never_less(ledger: Ledger, clock: Any) -> None:
    start = clock.now
    for _ in range(3):
        await granted(ledger, RATES)
    refusal = await refused(ledger, RATES)
    assert refusal.retry_after_s is not None and 60 < refusal.retry_after_s <= 61
    clock.now = start + 60
    await refused(ledger, RATES)
    clock.now = start + refusal.retry_after_s + 0.001
    await granted(ledger, RATES)


async def test_the_wait_is_until_enough_has_left(ledger: Ledger, clock: Any) -> None:
    start = clock.now = 1_800_000_000.0
    for used in (50, 20, 30):
        await granted(ledger, RATES, tokens(used))
        clock.now += 10
    refusal = await refused(ledger, Limits(tpm=100), tokens(60))
    # The first 50 and the next 20 have to go.
    assert refusal.retry_after_s == pytest.approx(start + 10 + 61 - clock.now, abs=0.002)
    clock.now += refusal.retry_after_s
    await granted(ledger, Limits(tpm=100), tokens(60))


async def test_reset_tells_when_nothing_counts_any_more(ledger: Ledger, clock: Any) -> None:
    clock.now = 1_800_000_000.0
    await granted(ledger, RATES, tokens(10))
    clock.now += 7
    level = (await granted(ledger, RATES)).standing
    assert level.requests is not None and level.requests.reset_s == pytest.approx(61, abs=0.002)
    assert level.tokens is not None and level.tokens.reset_s == pytest.approx(54, abs=0.002)


async def test_a_tenant_that_took_nothing_yet_starts_at_once(ledger: Ledger) -> None:
    level = (await granted(ledger, RATES)).standing.tokens
    assert level is not None and (level.remaining, level.reset_s) == (100, 0.0)


async def test_tokens_are_reserved_and_the_rest_comes_back(ledger: Ledger) -> None:
    grant = await granted(ledger, RATES, tokens(80))
    refusal = await refused(ledger, RATES, tokens(30))
    assert (refusal.kind, refusal.used, refusal.asked) == (Kind.TOKENS, 80, 30)
    await settled(ledger, grant, Used(1, 12))
    level = (await granted(ledger, RATES, tokens(30))).standing.tokens
    assert level is not None and level.remaining == 58


async def test_a_refund_in_full_takes_the_request_back_too(ledger: Ledger) -> None:
    for _ in range(10):
        await settled(ledger, await granted(ledger, Limits(rpm=1), tokens(1)), Used())
    await granted(ledger, Limits(rpm=1))
    await refused(ledger, Limits(rpm=1))


async def test_what_was_used_beyond_the_reservation_counts(ledger: Ledger) -> None:
    await settled(ledger, await granted(ledger, RATES, tokens(10)), Used(1, 150))
    refusal = await refused(ledger, RATES, tokens(1))
    assert refusal.used == 150 and refusal.standing.tokens is not None
    assert refusal.standing.tokens.remaining == 0
    # Who is beyond the limit gets nothing, not even a request that seems to take nothing.
    await refused(ledger, RATES)


async def test_what_was_used_beyond_counts_from_the_end_of_the_request(ledger: Ledger, clock: Any) -> None:
    grant = await granted(ledger, RATES, tokens(10))
    clock.now += 300
    await settled(ledger, grant, Used(1, 110))
    assert (await refused(ledger, RATES, tokens(1))).used == 100


async def test_a_late_refund_does_not_make_room_in_another_minute(ledger: Ledger, clock: Any) -> None:
    grant = await granted(ledger, RATES, tokens(100))
    clock.now += 300
    await granted(ledger, RATES, tokens(100))
    await settled(ledger, grant, Used())
    assert (await refused(ledger, RATES, tokens(1))).used == 100


async def test_an_open_ended_request_takes_what_is_left(ledger: Ledger) -> None:
    await granted(ledger, RATES, tokens(70))
    grant = await granted(ledger, RATES, Ask(tokens=1000, least_tokens=20))
    assert grant.reservation.tokens == 30
    await refused(ledger, RATES, Ask(tokens=1000, least_tokens=1))


async def test_a_request_larger_than_the_limit_never_fits(ledger: Ledger) -> None:
    assert (await refused(ledger, RATES, tokens(101))).retry_after_s is None
    assert (await refused(ledger, Limits(usd_per_day=1), money(1.01))).retry_after_s is None


async def test_a_refusal_takes_nothing(ledger: Ledger) -> None:
    limits = Limits(rpm=2, tpm=100, usd_per_day=1)
    await refused(ledger, limits, Ask(50, 2 * NANO, 50, 2 * NANO))
    grant = await granted(ledger, limits, Ask(100, NANO, 100, NANO))
    assert grant.standing.requests is not None and grant.standing.requests.remaining == 1


async def test_money_lasts_until_the_next_day_of_utc(ledger: Ledger, clock: Any) -> None:
    clock.now = 86400.0 * 20_000 + 3600
    limits = Limits(usd_per_day=1)
    grant = await granted(ledger, limits, money(0.75))
    refusal = await refused(ledger, limits, money(0.5))
    assert (refusal.kind, refusal.limit, refusal.used) == (Kind.USD, NANO, 750_000_000)
    assert refusal.retry_after_s == pytest.approx(23 * 3600, abs=0.002)
    await settled(ledger, grant, Used(1, 0, 250_000_000))
    await granted(ledger, limits, money(0.75))
    await refused(ledger, limits, money(0.01))
    clock.now += 23 * 3600
    await granted(ledger, limits, money(1.0))


async def test_money_settled_after_midnight_belongs_to_the_day_before(ledger: Ledger, clock: Any) -> None:
    clock.now = 86400.0 * 20_000 - 1
    limits = Limits(usd_per_day=1)
    grant = await granted(ledger, limits, money(0.5))
    clock.now += 2
    await settled(ledger, grant, Used(1, 0, NANO))
    await granted(ledger, limits, money(1.0))


async def test_no_budget_means_free_models_only(ledger: Ledger) -> None:
    limits = Limits(usd_per_day=0)
    await granted(ledger, limits, money(0))
    assert (await refused(ledger, limits, money(0.000001))).retry_after_s is None


async def test_large_numbers_stay_whole(ledger: Ledger) -> None:
    limits = Limits(tpm=10**14, usd_per_day=1_000_000)
    grant = await granted(ledger, limits, Ask(10**12 + 1, 10**14 + 1, 1, 1))
    assert (grant.reservation.tokens, grant.reservation.nano_usd) == (10**12 + 1, 10**14 + 1)
    await settled(ledger, grant, Used(1, 3, 7))
    refusal = await refused(ledger, Limits(tpm=3, usd_per_day=1), tokens(1))
    assert refusal.used == 3


async def test_tenants_have_accounts_of_their_own(ledger: Ledger) -> None:
    await granted(ledger, Limits(rpm=1), tenant="a")
    await granted(ledger, Limits(rpm=1), tenant="b")
    await refused(ledger, Limits(rpm=1), tenant="a")


@pytest.fixture
async def two(open_ledger: Callable[[], Ledger]) -> AsyncIterator[tuple[Ledger, Ledger]]:
    first, second = open_ledger(), open_ledger()
    yield first, second
    await first.close()
    await second.close()


async def test_several_processes_share_the_accounts(two: tuple[Ledger, Ledger]) -> None:
    grant = await granted(two[0], RATES, tokens(100))
    await refused(two[1], RATES, tokens(1))
    await settled(two[0], grant, Used(1, 40))
    await granted(two[1], RATES, tokens(60))


async def test_a_hundred_at_a_time_never_take_more_than_there_is(two: tuple[Ledger, Ledger]) -> None:
    limits = Limits(rpm=1000, tpm=1000, usd_per_day=1)
    taken = highest = 0

    async def caller(number: int) -> int:
        nonlocal taken, highest
        outcome = await two[number % 2].reserve("t", limits, Ask(70, NANO // 100, 70, NANO // 100))
        if isinstance(outcome, Refusal):
            return 0
        taken += 70
        highest = max(highest, taken)
        await asyncio.sleep(0)
        two[number % 2].settle(outcome.reservation, Used(1, 30, NANO // 200))
        taken -= 40
        return 1

    admitted = 0
    for _ in range(5):
        admitted += sum(await asyncio.gather(*map(caller, range(100))))
    assert highest <= 1000 and admitted >= 1000 // 70
    # Everything has been settled in the end, not a token more or less; what the others settled shows soon.
    async with asyncio.timeout(10):
        while (await refused(two[1], Limits(tpm=1), tokens(1))).used != 30 * admitted:
            await asyncio.sleep(0.01)


async def test_what_is_not_settled_yet_is_settled_at_the_end(open_ledger: Callable[[], Ledger]) -> None:
    first = open_ledger()
    first.settle((await granted(first, RATES, tokens(100))).reservation, Used(1, 5))
    await first.close()
    second = open_ledger()
    assert (await granted(second, RATES, tokens(95))).reservation.tokens == 95
    await second.close()
