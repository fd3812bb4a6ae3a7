"""Counts what requests saved: in the tenants' book, in the metrics, and for the request's own record."""

from __future__ import annotations

import structlog

from gateway.exchange import Exchange
from gateway.savings.counterfactual import Counterfactual
from gateway.savings.saved import Saved
from gateway.state.ledger.base import NANO
from gateway.state.savings.book import SavingsBook
from gateway.state.settled import SettledSavings
from telemetry.metrics import GatewayMetrics

_log = structlog.get_logger("gateway.savings")


class Savings:
    """Whatever goes wrong here costs a figure and nothing else."""

    def __init__(self, counterfactual: Counterfactual, book: SavingsBook, metrics: GatewayMetrics) -> None:
        self._counterfactual = counterfactual
        self._book = book
        self._metrics = metrics

    def settle(self, ex: Exchange) -> SettledSavings | None:
        """Count a request that is over; returns what its record says.

        The requests that it made are counted when they are over themselves, which may be later.
        """
        try:
            saved = self._counterfactual.saved(ex)
            self._counterfactual.see(ex)
            if saved is None:
                return None if not ex.inner else self._shown(ex, None)
            self._book.take(ex.tenant, saved, asked_for=ex.origin is None and ex.asked_for)
            for name, layer in saved.layers.items():
                self._metrics.saved(ex.tenant, name, layer.requests, layer.nano_usd / NANO, layer.seconds)
            return self._shown(ex, saved)
        except Exception as error:
            _log.error("savings_not_counted", request_id=ex.id, exc_info=error)
            return None

    def so_far(self, ex: Exchange) -> SettledSavings | None:
        """Return what a record would say now."""
        try:
            return self._shown(ex, self._counterfactual.saved(ex))
        except Exception as error:
            _log.error("savings_not_counted", request_id=ex.id, exc_info=error)
            return None

    def _shown(self, ex: Exchange, saved: Saved | None) -> SettledSavings | None:
        if ex.inner:
            saved = self._with_inner(ex, saved or Saved())
        if saved is None or not saved.priced:
            return None
        layers = saved.layers
        if not layers:
            direct = saved.direct / NANO
            return SettledSavings(direct, direct, saved.batch / NANO, {}, {})
        return SettledSavings(
            direct_usd=saved.direct / NANO,
            actual_usd=saved.actual / NANO,
            batch_usd=saved.batch / NANO,
            layers={name: layer.nano_usd / NANO for name, layer in layers.items()},
            estimated_s={name: round(layer.seconds, 6) for name, layer in layers.items()},
        )

    def _with_inner(self, ex: Exchange, saved: Saved) -> Saved:
        """Add what the requests have cost that this one has made: its cost is theirs as well."""
        for inner in ex.inner:
            part = self._counterfactual.saved(inner)
            if part is not None:
                saved.actual += part.actual
                saved.priced = saved.priced and part.priced
                for name, layer in part.layers.items():
                    saved.add(name, layer.nano_usd, layer.seconds, layer.requests)
            self._with_inner(inner, saved)
        return saved
