"""Alarms when the labels of a scope's hits turn worse: a test of proportions, and Page and Hinkley's test.

The first compares the newest labels with those before them; the second (Page, "Continuous inspection
schemes", 1954) adds up how far each label is above the running mean and sees slow changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from semantic_cache.decision.base import Observations

RECENT = 30
LEAST = 15
Z_ALARM = 3.0
PH_TOLERANCE = 0.02
PH_ALARM = 4.0


def alarm(pool: Observations) -> str:
    """Return which test sees the hits of a scope getting worse, or ""."""
    wrong = [not obs.same for obs in pool.seen if obs.eligible]
    if two_proportions(wrong) > Z_ALARM:
        return "two-proportion"
    if page_hinkley(wrong) > PH_ALARM:
        return "page-hinkley"
    return ""


def two_proportions(wrong: Sequence[bool]) -> float:
    """Return how many standard errors the newest labels are worse than those before; 0 with too few."""
    recent, before = wrong[-RECENT:], wrong[:-RECENT]
    if len(recent) < LEAST or len(before) < LEAST:
        return 0.0
    # Half a count on either side keeps a first mistake after a clean record from being infinitely surprising.
    new, old = (sum(recent) + 0.5) / (len(recent) + 1), (sum(before) + 0.5) / (len(before) + 1)
    both = (sum(recent) + sum(before) + 1) / (len(wrong) + 2)
    error = sqrt(both * (1 - both) * (1 / len(recent) + 1 / len(before)))
    return (new - old) / error if error else 0.0


def page_hinkley(wrong: Sequence[bool]) -> float:
    """Return the largest rise of the cumulated excess over the running mean."""
    mean, total, least = 0.0, 0.0, 0.0
    for count, value in enumerate(wrong, start=1):
        mean += (value - mean) / count
        total += value - mean - PH_TOLERANCE
        least = min(least, total)
    return total - least
