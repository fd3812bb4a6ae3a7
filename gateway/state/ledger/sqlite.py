"""Accounts in the SQLite database, which all processes of one machine may share.

Everything that comes up in one turn of the event loop shares one transaction, and what is to be recorded
goes before what is to be taken. It runs on the event loop, where it takes some 50 µs: a hop to a thread and
back costs more, and under load waits for the interpreter's lock at each statement. If another process has
the database, everybody waits for one timer and not each for their own.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger.accounts import Taken
from gateway.state.ledger.base import DAY_S, Ask, Kind, Refusal
from gateway.state.ledger.lease import Lease
from gateway.state.ledger.sqlite_file import FAILURES, LedgerFile, is_busy
from gateway.state.ledger.window import Window, first_second
from gateway.state.location import STALL_S
from gateway.state.outage import Outage

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.01
# What is to be recorded waits for the next caller, and for this long at most.
_SETTLE_S = 0.05
_RETRY_S = 0.25
_MOST_UNSETTLED = 100_000

# Summed up by SQLite: 61 rows take three times as long to reach Python.
_READ_WINDOW = """
SELECT ifnull(sum(requests), 0), ifnull(sum(tokens), 0),
       max(CASE WHEN requests > 0 THEN second END), max(CASE WHEN tokens > 0 THEN second END)
FROM taken WHERE tenant = ? AND second >= ?
"""
_READ_TAKEN = {
    Kind.REQUESTS: "SELECT second, requests FROM taken WHERE tenant = ? AND second >= ? ORDER BY second",
    Kind.TOKENS: "SELECT second, tokens FROM taken WHERE tenant = ? AND second >= ? ORDER BY second",
}
_READ_SPENT = "SELECT nano_usd FROM spent WHERE tenant = ? AND day = ?"
_TAKE = """
INSERT INTO taken VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens
"""
_SPEND = """
INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd
"""
_GIVE_BACK = "UPDATE taken SET requests = requests + ?, tokens = tokens + ? WHERE tenant = ? AND second = ?"


@dataclass(slots=True)
class _Waiting:
    """A caller, and how long it may wait on the monotonic clock."""

    tenant: str
    limits: Limits
    ask: Ask
    times: int
    give_up_s: float
    decision: asyncio.Future[Taken | Refusal]


class SqliteAccounts:
    """Accounts in one file, which is made by the first lease."""

    def __init__(self, path: Path, outage: Outage, clock: Callable[[], float] = time.time) -> None:
        self._file = LedgerFile(path)
        self._outage = outage
        self._clock = clock
        self._waiting: list[_Waiting] = []
        # In the order of their first change. Beyond the bound the oldest stay as they are recorded.
        self._unsettled: dict[Lease, None] = {}
        self._next: asyncio.Handle | None = None
        """The turn that has been asked for."""
        self._urgent = False
        self._pause_s = _FIRST_PAUSE_S

    async def take(self, tenant: str, limits: Limits, ask: Ask, times: int) -> Taken | Refusal:
        decision: asyncio.Future[Taken | Refusal] = asyncio.get_running_loop().create_future()
        give_up_s = time.monotonic() + STALL_S
        self._waiting.append(_Waiting(tenant, limits, ask, times, give_up_s, decision))
        if not self._urgent:
            self._come_back(0, urgent=True)
        try:
            return await decision
        except asyncio.CancelledError:
            # The decision may have been made in the very turn in which the caller was cancelled.
            made = None if decision.cancelled() or decision.exception() else decision.result()
            if isinstance(made, Taken):
                made.lease.give_back()
                self.settle(made.lease)
            raise

    def settle(self, lease: Lease) -> None:
        self._unsettled[lease] = None
        if self._next is None:
            self._come_back(_SETTLE_S)
        if len(self._unsettled) > _MOST_UNSETTLED:
            del self._unsettled[next(iter(self._unsettled))]

    async def close(self) -> None:
        give_up = time.monotonic() + STALL_S
        while self._unsettled and time.monotonic() < give_up:
            self._turn()
            if self._unsettled:
                await asyncio.sleep(_LONGEST_PAUSE_S)
        if self._next is not None:
            self._next.cancel()
        await self._file.close()

    def _come_back(self, seconds: float, *, urgent: bool = False) -> None:
        loop = asyncio.get_running_loop()
        if self._next is not None:
            self._next.cancel()
        self._urgent = urgent
        self._next = loop.call_later(seconds, self._turn) if seconds else loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Record and decide everything that is there; if that cannot be now, come back to it."""
        self._next, self._urgent = None, False
        waiting = [caller for caller in self._waiting if not caller.decision.done()]
        self._waiting.clear()
        if not waiting and not self._unsettled:
            return
        try:
            with self._file.transaction(self._clock()) as db:
                for lease in self._unsettled:
                    self._record(db, lease)
                decisions = [self._decide(db, caller) for caller in waiting]
        except FAILURES as error:
            self._try_again(waiting, error)
            return
        for lease in self._unsettled:
            lease.recorded = lease.report()
        self._unsettled.clear()
        self._pause_s = _FIRST_PAUSE_S
        self._outage.worked()
        for caller, decision in zip(waiting, decisions, strict=True):
            caller.decision.set_result(decision)

    def _try_again(self, waiting: list[_Waiting], error: Exception) -> None:
        busy, now = is_busy(error), time.monotonic()
        for caller in waiting:
            if busy and now < caller.give_up_s:
                self._waiting.append(caller)
            else:
                unavailable = StateUnavailable(
                    "The gateway cannot check your limits at the moment. Try again shortly."
                )
                unavailable.__cause__ = error
                caller.decision.set_exception(unavailable)
        if not busy or len(self._waiting) < len(waiting):
            self._outage.failed(error)
        if not busy:
            self._file.drop()
        if self._waiting:
            self._come_back(self._pause_s * (0.5 + random.random()), urgent=True)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        elif self._unsettled:
            self._come_back(_LONGEST_PAUSE_S if busy else _RETRY_S)

    def _decide(self, db: sqlite3.Connection, caller: _Waiting) -> Taken | Refusal:
        now, tenant, limits, ask = self._clock(), caller.tenant, caller.limits, caller.ask
        second, day = int(now), int(now // DAY_S)
        spent = 0
        if limits.usd_per_day is not None and (row := db.execute(_READ_SPENT, (tenant, day)).fetchone()):
            spent = row[0]
        since = (tenant, first_second(now))
        requests, used, last_request, last_token = db.execute(_READ_WINDOW, since).fetchone()
        window = Window(requests, used, last_request, last_token, spent)
        one = window.take(ask, limits, now, lambda kind: db.execute(_READ_TAKEN[kind], since))
        if isinstance(one, Refusal):
            return one
        room = window.room(ask, limits)
        times = min(caller.times, room)
        tokens, money = times * one[0], times * one[1]
        db.execute(_TAKE, (tenant, second, times, tokens))
        if money:
            db.execute(_SPEND, (tenant, day, money))
        return Taken(Lease(tenant, second, day, times, tokens, money), now, window, room)

    def _record(self, db: sqlite3.Connection, lease: Lease) -> None:
        report, recorded, tenant = lease.report(), lease.recorded, lease.tenant
        requests, tokens = report.requests - recorded.requests, report.tokens - recorded.tokens
        if requests or tokens:
            db.execute(_GIVE_BACK, (requests, tokens, tenant, lease.second))
        if more := report.more_tokens - recorded.more_tokens:
            db.execute(_TAKE, (tenant, int(self._clock()), 0, more))
        more = report.more_nano_usd - recorded.more_nano_usd
        if money := report.nano_usd - recorded.nano_usd + more:
            db.execute(_SPEND, (tenant, lease.day, money))
