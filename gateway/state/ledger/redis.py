"""Accounts in Redis, which all replicas share: each change is one Lua script, so it is atomic.

All keys of a tenant carry its name as their hash tag and so live on one node of a cluster. Seconds and days
come from Redis' own clock: replicas whose clocks differ would otherwise look at different windows.

A script whose answer was lost may have run. So every reservation leaves a hold, and a settlement takes effect
only if it removes one: it can be sent again until an answer comes, and a reservation of which nobody knows
whether it was made can be settled with nothing used.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from redis.exceptions import NoScriptError

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger.base import Ask, Grant, Kind, Refusal, Reservation, Used, nano_usd
from gateway.state.ledger.redis_scripts import RESERVE, SETTLE, Script
from gateway.state.ledger.window import Window
from gateway.state.location import STALL_S
from gateway.state.outage import Outage
from gateway.state.redis_client import FAILURES, async_client

_NONE = -1
_RETRY_S = 0.25
_MOST_UNSETTLED = 100_000
_KINDS = (Kind.REQUESTS, Kind.TOKENS, Kind.USD)


class RedisLedger:
    """Accounts on a Redis server or cluster."""

    def __init__(self, url: str, outage: Outage, clock: Callable[[], float] | None = None) -> None:
        """Without `clock`, time is the server's."""
        self._redis = async_client(url)
        self._outage = outage
        self._clock = clock
        # What could not be settled yet. Beyond the bound the oldest stay charged as reserved.
        self._unsettled: deque[tuple[str, str, Used]] = deque(maxlen=_MOST_UNSETTLED)
        self._settling: asyncio.Task[None] | None = None

    async def reserve(self, tenant: str, limits: Limits, ask: Ask) -> Grant | Refusal:
        hold = secrets.token_hex(8)
        budget = None if limits.usd_per_day is None else nano_usd(limits.usd_per_day)
        given = (limits.rpm, limits.tpm, budget)
        asked = (ask.tokens, ask.least_tokens, ask.nano_usd, ask.least_nano_usd)
        arguments = (*(_NONE if limit is None else limit for limit in given), *asked)
        try:
            reply = await self._run(RESERVE, tenant, hold, *arguments)
        except BaseException as error:
            # It may have been made all the same.
            self._settle_later(tenant, hold, Used())
            if not isinstance(error, FAILURES):
                raise
            self._outage.failed(error)
            raise StateUnavailable(
                "The gateway cannot check your limits at the moment. Try again shortly."
            ) from error
        self._outage.worked()
        kind, now_ms, retry_ms, second, day, tokens, money = reply[:7]
        requests, used, *last, spent = reply[7:]
        now = now_ms / 1000
        last_request, last_token = (None if at == _NONE else at for at in last)
        window = Window(requests, used, last_request, last_token, spent)
        if kind == 0:
            standing = window.after(tokens, now).standing(limits, now)
            return Grant(Reservation(tenant, second, day, tokens, money, hold), standing)
        return Refusal(
            _KINDS[kind - 1],
            None if retry_ms == _NONE else retry_ms / 1000,
            window.standing(limits, now),
            cast(int, given[kind - 1]),
            (requests, used, spent)[kind - 1],
            (1, ask.least_tokens, ask.least_nano_usd)[kind - 1],
        )

    def settle(self, reservation: Reservation, used: Used) -> None:
        self._settle_later(reservation.tenant, reservation.hold, used)

    async def close(self) -> None:
        if self._settling is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STALL_S):
                    await self._settling
        await self._redis.aclose()

    def _settle_later(self, tenant: str, hold: str, used: Used) -> None:
        self._unsettled.append((tenant, hold, used))
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle_all())

    async def _settle_all(self) -> None:
        while self._unsettled:
            tenant, hold, used = self._unsettled[0]
            try:
                await self._run(SETTLE, tenant, hold, used.requests, used.tokens, used.nano_usd)
            except FAILURES as error:
                self._outage.failed(error)
                await asyncio.sleep(_RETRY_S)
            else:
                self._outage.worked()
                self._unsettled.popleft()

    async def _run(self, script: Script, tenant: str, hold: str, *arguments: int) -> Any:
        keys = [
            f"forebay:{{{tenant}}}:taken",
            f"forebay:{{{tenant}}}:spent",
            f"forebay:{{{tenant}}}:hold:{hold}",
        ]
        now = _NONE if self._clock is None else self._clock()
        rest = [*keys, str(now), *map(str, arguments)]
        # One deadline for all of it: a free connection, connecting, sending, the answer.
        async with asyncio.timeout(STALL_S):
            try:
                return await self._redis.evalsha(script.sha, len(keys), *rest)
            except NoScriptError:
                return await self._redis.eval(script.text, len(keys), *rest)
