"""Tiers that there is never a reason to use: dearer than another and no better.

"Small" need not mean cheap: a weaker model with the dearer tokens, or more of them, is used by many a fixed
cascade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TierRecord:
    """What a tier has done so far, on the same requests as the others: share right, mean cost of a
    request."""

    quality: float
    cost_usd: float


def dominated(tiers: Mapping[str, TierRecord]) -> dict[str, str]:
    """Return each tier that another beats in one of quality and cost without losing in the other, and by
    which."""
    found = {}
    for name, tier in tiers.items():
        for other, record in tiers.items():
            no_worse = record.quality >= tier.quality and record.cost_usd <= tier.cost_usd
            better = record.quality > tier.quality or record.cost_usd < tier.cost_usd
            if no_worse and better:
                found[name] = other
                break
    return found
