"""A worker's view of the accounts: most requests are admitted without asking them.

The worker takes room for several requests from the accounts in one step, a lease, and hands it out by
itself. The accounts have charged all of it from the start, so whatever the worker does with it, or if it
dies, no limit is passed.

- A lease is handed out only within the second of Unix time in which it was taken, since that second is
  charged for it; what is left then goes back. The time since the accounts were asked counts as passed,
  which is on the safe side of however long their answer took.
- A lease is as large as all that was handed out before it in the same second, one more at least. So nothing
  is held back from other workers for a tenant with one request a second, and never more than half for
  nothing.
- The accounts lease nothing to a tenant that has used up half of a limit, and little of what is left to
  others (`Window.room`). Such a tenant's requests are reserved one by one: refusals are exact where they
  occur.
- One lease of a tenant is fetched at a time; callers that come meanwhile wait for it in their order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.config.schema import Limits
from gateway.errors import StateUnavailable
from gateway.state.ledger.accounts import Accounts
from gateway.state.ledger.base import Ask, Refusal, Used
from gateway.state.ledger.lease import Grant, Lease, Reservation
from gateway.state.ledger.share import Caller, Share

LARGEST_LEASE = 128
"""Requests; 15 fetches for a thousand requests a second."""


class Ledger:
    """Admits requests and settles them."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds from any point in time."""
        self._accounts = accounts
        self._clock = clock
        self._shares: dict[str, Share] = {}

    async def reserve(self, tenant: str, limits: Limits, ask: Ask) -> Grant | Refusal:
        """Take one request and what it asks for, or nothing. Raises StateUnavailable.

        Cancelled, it takes nothing.
        """
        share = self._shares.get(tenant)
        if share is None:
            share = self._shares[tenant] = Share(tenant)
        now_s = self._clock()
        if share.fits(limits, ask, now_s):
            return self._hand_out(share, ask, now_s)
        outcome = await self._queue(share, limits, ask) if share.leasing else None
        return outcome or await self._alone(share, limits, ask)

    def settle(self, reservation: Reservation, used: Used) -> None:
        """Put what was really used in the place of a reservation.

        Never fails and never waits: if the store does not answer now, it is done when it does.
        """
        lease = reservation.lease
        lease.settle(reservation, used)
        self._shares[lease.tenant].settled(reservation, used)
        self._accounts.settle(lease)

    async def close(self) -> None:
        """Finish what is to be settled, if the store answers, and close."""
        fetching = [share.fetching for share in self._shares.values() if share.fetching is not None]
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)
        for share in self._shares.values():
            self._give_back(share, share.lease)
        await self._accounts.close()

    def _hand_out(self, share: Share, ask: Ask, now_s: float) -> Grant:
        grant = share.hand_out(ask, now_s)
        lease = grant.reservation.lease
        if lease.free_requests == 0:
            self._give_back(share, lease)
        return grant

    def _give_back(self, share: Share, lease: Lease | None) -> None:
        """Hand out nothing more of a lease, if it is still the tenant's."""
        if lease is not None and share.lease is lease:
            share.lease = None
            if lease.give_back():
                self._accounts.settle(lease)

    async def _alone(self, share: Share, limits: Limits, ask: Ask) -> Grant | Refusal:
        taken = await self._accounts.take(share.tenant, limits, ask, 1)
        if isinstance(taken, Refusal):
            return taken
        share.leasing = taken.room > 1
        reservation = taken.lease.hand_out(ask)
        standing = taken.before.after(reservation.tokens, taken.now).standing(limits, taken.now)
        return Grant(reservation, standing)

    async def _queue(self, share: Share, limits: Limits, ask: Ask) -> Grant | Refusal | None:
        """Wait for the next lease. Returns None if the tenant's requests are to be reserved one by one."""
        caller = Caller(limits, ask, asyncio.get_running_loop().create_future())
        share.callers.append(caller)
        if share.fetching is None:
            share.fetching = asyncio.create_task(self._serve(share))
        try:
            return await caller.outcome
        except asyncio.CancelledError:
            # It may have been served in the very turn in which it was cancelled.
            outcome = caller.outcome
            served = None if outcome.cancelled() or outcome.exception() else outcome.result()
            if isinstance(served, Grant):
                self.settle(served.reservation, Used())
            raise

    async def _serve(self, share: Share) -> None:
        """Fetch leases until nobody waits."""
        reason = "The gateway is closing."
        try:
            while callers := share.waiting():
                # What is left of the last one does not fit, and goes back in the same step.
                self._give_back(share, share.lease)
                await self._fetch(share, callers[0], len(callers))
        except StateUnavailable as error:
            reason = str(error)
        finally:
            share.fetching = None
            for caller in share.waiting():
                caller.outcome.set_exception(StateUnavailable(reason))

    async def _fetch(self, share: Share, first: Caller, waiting: int) -> None:
        """Take a lease for the first caller and serve whomever it is enough for."""
        asked_s = self._clock()
        times = min(LARGEST_LEASE, max(waiting, share.next_size(asked_s)))
        taken = await self._accounts.take(share.tenant, first.limits, first.ask, times)
        if isinstance(taken, Refusal):
            share.leasing = False
            first.answer(taken)
        else:
            share.leasing = taken.room > 1
            share.install(taken, first.limits, asked_s)
            # He for whom it was taken has been admitted, however late that is known here.
            if not first.outcome.done():
                first.answer(self._hand_out(share, first.ask, asked_s))
        for caller in share.waiting():
            now_s = self._clock()
            if share.fits(caller.limits, caller.ask, now_s):
                caller.answer(self._hand_out(share, caller.ask, now_s))
            elif not share.leasing:
                caller.answer(None)
        if share.lease is not None:
            left_s = share.good_until_s - self._clock()
            asyncio.get_running_loop().call_later(max(0.0, left_s), self._give_back, share, share.lease)
