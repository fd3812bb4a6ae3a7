"""What `forebay cache stats` says of the money and the time that were saved."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from itertools import groupby

import msgspec

from gateway.config.schema import StoreUrl
from gateway.errors import StateUnavailable
from gateway.state.open import open_savings
from gateway.state.savings.base import day_of
from gateway.state.savings.summary import Summary, summary


def read_savings(store: StoreUrl, tenant: str | None, days: int) -> dict[str, Summary] | None:
    """Return the savings of the last days by tenant; None, and a word on standard error, without a store."""
    try:
        sums = open_savings(store).read(tenant, day_of(time.time()) - days + 1)
    except StateUnavailable as error:
        sys.stderr.write(f"forebay: no savings: {error}\n")
        return None
    return {name: summary(of) for name, of in groupby(sums, key=lambda sum_: sum_[0].tenant)}


def table(savings: Mapping[str, Summary], days: int) -> str:
    """Return a table for each tenant."""
    lines = []
    for name, of in savings.items():
        share = f" ({of.saved_usd / of.direct_usd:.1%})" if of.direct_usd else ""
        unpriced = f"; {of.unpriced} requests without a price" if of.unpriced else ""
        lines += [
            f"\n{name}, last {days} days: {of.requests} requests would have cost ${of.direct_usd:.6f} "
            f"and cost ${of.actual_usd:.6f}, saved ${of.saved_usd:.6f}{share}{unpriced}",
            f"  {'layer':<12} {'requests':>10} {'USD':>14} {'seconds (est.)':>15}",
        ]
        lines += [
            f"  {layer:<12} {did.requests:>10} {did.usd:>14.6f} {did.estimated_s:>15.1f}"
            for layer, did in of.layers.items()
        ]
    return "\n".join(lines) + "\n" if lines else ""


def encoded(savings: Mapping[str, Summary] | None) -> object:
    """Return the savings for JSON."""
    return None if savings is None else {name: msgspec.to_builtins(of) for name, of in savings.items()}
