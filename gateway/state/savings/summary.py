"""Savings as people and programs read them: by day, by layer, and in all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec

from gateway.state.ledger.base import NANO
from gateway.state.savings.base import ACTUAL, BATCH, DIRECT, MICRO, UNPRICED, Amount, Place

_EPOCH = date(1970, 1, 1)


class LayerSum(msgspec.Struct, frozen=True):
    """What one layer did; below zero where it cost more than it saved."""

    requests: int
    usd: float
    estimated_s: float


class Summary(msgspec.Struct, frozen=True):
    """Some days' savings of one tenant."""

    requests: int
    """Those whose prices and tokens are known."""
    unpriced: int
    """All others: they are in none of the sums of money."""
    direct_usd: float
    actual_usd: float
    saved_usd: float
    batch_usd: float
    layers: dict[str, LayerSum]


class DaySummary(Summary, frozen=True):
    """The savings of one day of UTC."""

    day: str


def by_day(sums: Iterable[tuple[Place, Amount]]) -> list[DaySummary]:
    """Return a summary for each day that has any; all sums are one tenant's."""
    days: dict[int, list[tuple[Place, Amount]]] = {}
    for place, amount in sums:
        days.setdefault(place.day, []).append((place, amount))
    return [
        DaySummary(**msgspec.structs.asdict(summary(days[day])), day=str(_EPOCH + timedelta(day)))
        for day in sorted(days)
    ]


def summary(sums: Iterable[tuple[Place, Amount]]) -> Summary:
    """Return what sums come to together."""
    total: dict[str, Amount] = {}
    for place, amount in sums:
        total[place.name] = total.get(place.name, Amount()).plus(amount)
    direct, actual, batch, unpriced = (
        total.pop(name, Amount()) for name in (DIRECT, ACTUAL, BATCH, UNPRICED)
    )
    return Summary(
        requests=direct.requests,
        unpriced=unpriced.requests,
        direct_usd=direct.nano_usd / NANO,
        actual_usd=actual.nano_usd / NANO,
        saved_usd=(direct.nano_usd - actual.nano_usd) / NANO,
        batch_usd=(direct.nano_usd + batch.nano_usd) / NANO,
        layers={
            name: LayerSum(amount.requests, amount.nano_usd / NANO, amount.micro_s / MICRO)
            for name, amount in sorted(total.items())
        },
    )
