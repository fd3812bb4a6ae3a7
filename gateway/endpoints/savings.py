"""`/forebay/savings`: what a tenant's requests would have cost without Forebay, and what saved how much."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gateway.errors import InvalidRequest
from gateway.state.keys.keyring import Keyring
from gateway.state.savings.base import KEPT_DAYS
from gateway.state.savings.book import SavingsBook
from gateway.state.savings.summary import DaySummary, Summary, by_day, summary

_DAYS = 30


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "forebay.savings"
    tenant: str
    total: Summary
    days: list[DaySummary]


class SavedSoFar:
    """Shows each tenant its own."""

    def __init__(self, book: SavingsBook, keyring: Keyring) -> None:
        self._book = book
        self._keyring = keyring

    async def page(self, request: web.BaseRequest) -> web.Response:
        """`GET /forebay/savings?days=N`; raises Unauthenticated, InvalidRequest, StateUnavailable."""
        tenant = self._keyring.identify(request.headers.get("authorization")).tenant
        sums = await self._book.read(tenant, _days(request))
        page = _Page(tenant=tenant, total=summary(sums), days=by_day(sums))
        return web.Response(body=msgspec.json.encode(page), content_type="application/json")


def _days(request: web.BaseRequest) -> int:
    if unknown := [name for name in request.query if name != "days"]:
        raise InvalidRequest(f"The parameter '{unknown[0]}' is not known; there is 'days'.", param=unknown[0])
    given = request.query.get("days", str(_DAYS))
    if not (given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= KEPT_DAYS and len(given) < 9):
        raise InvalidRequest(f"The parameter 'days' must be a number from 1 to {KEPT_DAYS}.", param="days")
    return int(given)
