"""Accounts in memory, a double for tests: nothing is summed up in advance."""

from __future__ import annotations

from collections.abc import Callable

from gateway.config.schema import Limits
from gateway.state.ledger.accounts import Taken
from gateway.state.ledger.base import DAY_S, Ask, Kind, Refusal
from gateway.state.ledger.lease import Lease
from gateway.state.ledger.window import Window, first_second


class Book:
    """Every lease that was ever taken; what counts is read off the leases themselves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.leases: dict[Lease, None] = {}
        self.beyond: list[tuple[str, int, int]] = []

    async def take(self, tenant: str, limits: Limits, ask: Ask, times: int) -> Taken | Refusal:
        now = self._clock()
        since = first_second(now)
        taken = {Kind.REQUESTS: self._seconds(tenant, since, 0), Kind.TOKENS: self._seconds(tenant, since, 1)}
        requests, tokens = taken.values()
        spent = sum(
            lease.recorded.nano_usd + lease.recorded.more_nano_usd
            for lease in self.leases
            if lease.tenant == tenant and lease.day == now // DAY_S
        )
        window = Window(
            sum(requests.values()),
            sum(tokens.values()),
            max((second for second, number in requests.items() if number), default=None),
            max((second for second, number in tokens.items() if number), default=None),
            spent,
        )
        one = window.take(ask, limits, now, lambda kind: sorted(taken[kind].items()))
        if isinstance(one, Refusal):
            return one
        room = window.room(ask, limits)
        times = min(times, room)
        lease = Lease(tenant, int(now), int(now // DAY_S), times, times * one[0], times * one[1])
        self.leases[lease] = None
        return Taken(lease, now, window, room)

    def settle(self, lease: Lease) -> None:
        report = lease.report()
        if more := report.more_tokens - lease.recorded.more_tokens:
            self.beyond.append((lease.tenant, int(self._clock()), more))
        lease.recorded = report

    async def close(self) -> None:
        """There is nothing to wait for."""

    def taken(self, tenant: str, now: float) -> tuple[int, int]:
        """Return the requests and tokens that count."""
        since = first_second(now)
        return sum(self._seconds(tenant, since, 0).values()), sum(self._seconds(tenant, since, 1).values())

    def _seconds(self, tenant: str, since: int, what: int) -> dict[int, int]:
        seconds: dict[int, int] = {}
        for lease in self.leases:
            if lease.tenant == tenant and lease.second >= since:
                seconds[lease.second] = seconds.get(lease.second, 0) + lease.recorded[what]
        for owner, second, tokens in self.beyond:
            if what == 1 and owner == tenant and second >= since:
                seconds[second] = seconds.get(second, 0) + tokens
        return seconds
