"""Accounts in Redis, which all replicas share: each change is one Lua script, so it is atomic.

All keys of a tenant carry its name as their hash tag and so live on one node of a cluster. Seconds and days
come from Redis' own clock: replicas whose clocks differ would otherwise look at different windows.

A script whose answer was lost may have run. So every lease leaves a hold, which says what is recorded of
it: a report can be sent again until an answer comes, and a lease of which nobody knows whether it was taken
can be reported to have been for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any, cast

from redis.exceptions import NoScriptError

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger.accounts import Taken
from gateway.state.ledger.base import Ask, Kind, Refusal, nano_usd
from gateway.state.ledger.lease import Lease
from gateway.state.ledger.redis_scripts import SETTLE, TAKE, Script
from gateway.state.ledger.window import Window
from gateway.state.location import STALL_S
from gateway.state.outage import Outage
from gateway.state.redis_client import async_client
from semantic_cache.store.redis_link import FAILURES

_NONE = -1
# What is to be recorded waits for the tenant's next lease, and for this long at most.
_SETTLE_S = 0.05
_RETRY_S = 0.25
_MOST_UNSETTLED = 10_000
_KINDS = (Kind.REQUESTS, Kind.TOKENS, Kind.USD)


class RedisAccounts:
    """Accounts on a Redis server or cluster."""

    def __init__(self, url: str, outage: Outage, clock: Callable[[], float] | None = None) -> None:
        """Without `clock`, time is the server's."""
        self._redis = async_client(url)
        self._outage = outage
        self._clock = clock
        # By tenant, in the order of their first change. Beyond the bound the oldest stay as they are
        # recorded.
        self._unsettled: dict[str, dict[Lease, None]] = {}
        self._settling: asyncio.Task[None] | None = None

    async def take(self, tenant: str, limits: Limits, ask: Ask, times: int) -> Taken | Refusal:
        name = secrets.token_hex(8)
        budget = None if limits.usd_per_day is None else nano_usd(limits.usd_per_day)
        given = (limits.rpm, limits.tpm, budget)
        asked = (ask.tokens, ask.least_tokens, ask.nano_usd, ask.least_nano_usd, times)
        arguments = (*(_NONE if limit is None else limit for limit in given), *asked)
        try:
            reply = await self._run(TAKE, tenant, [name], arguments)
        except BaseException as error:
            # It may have been taken all the same.
            self.settle(Lease(tenant, 0, 0, 0, 0, 0, name))
            if not isinstance(error, FAILURES):
                raise
            self._outage.failed(error)
            raise StateUnavailable(
                "The gateway cannot check your limits at the moment. Try again shortly."
            ) from error
        self._outage.worked()
        kind, now_us, retry_ms, second, day, times, tokens, money, room = reply[:9]
        requests, used, *last, spent = reply[9:]
        now = now_us / 1_000_000
        last_request, last_token = (None if at == _NONE else at for at in last)
        window = Window(requests, used, last_request, last_token, spent)
        if kind == 0:
            return Taken(Lease(tenant, second, day, times, tokens, money, name), now, window, room)
        return Refusal(
            _KINDS[kind - 1],
            None if retry_ms == _NONE else retry_ms / 1000,
            window.standing(limits, now),
            cast(int, given[kind - 1]),
            (requests, used, spent)[kind - 1],
            (1, ask.least_tokens, ask.least_nano_usd)[kind - 1],
        )

    def settle(self, lease: Lease) -> None:
        leases = self._unsettled.setdefault(lease.tenant, {})
        leases[lease] = None
        if len(leases) > _MOST_UNSETTLED:
            del leases[next(iter(leases))]
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle_soon())

    async def close(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(STALL_S):
                await self._settle_all()
        await self._redis.aclose()

    async def _settle_soon(self) -> None:
        await asyncio.sleep(_SETTLE_S)
        while self._unsettled:
            try:
                await self._settle_all()
            except FAILURES as error:
                self._outage.failed(error)
                await asyncio.sleep(_RETRY_S)
            else:
                self._outage.worked()

    async def _settle_all(self) -> None:
        while self._unsettled:
            await self._run(SETTLE, next(iter(self._unsettled)), [], ())

    @contextlib.contextmanager
    def _reporting(self, tenant: str) -> Iterator[list[Lease]]:
        """Give the leases that are to be reported on, and keep them if that fails."""
        leases = self._unsettled.pop(tenant, {})
        try:
            yield list(leases)
        except BaseException:
            self._unsettled.setdefault(tenant, {}).update(leases)
            raise

    async def _run(self, script: Script, tenant: str, names: list[str], arguments: tuple[int, ...]) -> Any:
        """Run a script that first records how the tenant's leases stand."""
        now = _NONE if self._clock is None else self._clock()
        with self._reporting(tenant) as leases:
            holds = [
                f"forebay:{{{tenant}}}:hold:{name}" for name in (*(lease.name for lease in leases), *names)
            ]
            keys = [f"forebay:{{{tenant}}}:taken", f"forebay:{{{tenant}}}:spent", *holds]
            rest = [*keys, str(now), *map(_report, leases), *map(str, arguments)]
            # One deadline for all of it: a free connection, connecting, sending, the answer.
            async with asyncio.timeout(STALL_S):
                try:
                    return await self._redis.evalsha(script.sha, len(keys), *rest)
                except NoScriptError:
                    return await self._redis.eval(script.text, len(keys), *rest)


def _report(lease: Lease) -> str:
    return " ".join(map(str, (*lease.report(), int(lease.is_over()))))
