"""What we hold the cache to, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks._cache_pairs import MIXED
from benchmarks.report import Figures

LATENCY_MS = {
    "exact_p50_ms": 1.0,
    "semantic_hit_p50_ms": 5.0,
    "miss_overhead_p50_ms": 6.0,
}
ACCEPTED = 0.01
"""Largest share of the pairs of any kind of different questions that may be hits."""
REPHRASED = "problem understanding"
"""The kind of word problems in other words."""
REPHRASED_RECALL = 0.5


def targets(figures: Figures, http: Figures | None, budget: float) -> Iterator[dict[str, Any]]:
    """Return each target with what was measured; sets and figures that are missing have none."""
    for name in [MIXED] if MIXED in figures else [name for name in figures if "groups" in figures[name]]:
        found = figures[name]
        yield _target(
            f"{name}: wrong hits of different questions, upper bound", found["wrong_rate_upper95"], budget
        )
        yield _target(f"{name}: the same, of kinds left out", found["unseen"]["wrong_rate_upper95"], budget)
        for group, row in found["groups"].items():
            if row["different"] and not row["same"]:
                yield _target(f"{name}: accepted of '{group}'", row["wrong_rate"], ACCEPTED)
            if group == REPHRASED:
                yield _target(f"{name}: accepted of '{group}'", row["recall"], REPHRASED_RECALL, least=True)
    for figure, bound in LATENCY_MS.items():
        if http and figure in http:
            yield _target(f"http: {figure}", http[figure], bound)


def _target(what: str, value: float | None, bound: float, *, least: bool = False) -> dict[str, Any]:
    holds = value is not None and (value >= bound if least else value <= bound)
    return {"target": what, "value": value, "least" if least else "most": bound, "holds": holds}
