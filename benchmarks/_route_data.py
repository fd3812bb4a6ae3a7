"""The sets of `forebay bench route`: outcomes of two models, with vectors of the prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.before.query_signs import query_signs
from router.fit.query import QueryOutcomes
from router.outcomes import Outcome, parse_outcomes
from semantic_cache.embed.base import Embedder


@dataclass(frozen=True, slots=True)
class RouteSet:
    """One set of outcomes; all arrays have one row an outcome."""

    outcomes: Sequence[Outcome]
    weak: NDArray[np.bool_]
    strong: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    queries: QueryOutcomes
    answers: str | None
    """Name of the field with the small model's answers, if all rows have one."""

    @property
    def gain(self) -> NDArray[np.float64]:
        """1 where only the strong model is right, -1 where only the weak one is."""
        return np.subtract(self.strong, self.weak, dtype=float)

    def costs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return what each model cost, if that is known of all."""
        weak = [outcome.weak_cost_usd for outcome in self.outcomes]
        strong = [outcome.strong_cost_usd for outcome in self.outcomes]
        if None in weak or None in strong:
            return None
        return np.array(weak, dtype=float), np.array(strong, dtype=float)


def read_sets(folder: Path, embedder: Embedder, only: Sequence[str] = ()) -> dict[str, list[RouteSet]]:
    """Read every set of outcomes; a file with a second pair of answers (`weak_alt_…`) gives two.

    Raises FileNotFoundError if there is none.
    """
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        if only and path.name not in only:
            continue
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [json.loads(line) for line in lines]
        if not rows or "weak_correct" not in rows[0]:
            continue
        pairs = [_set(parse_outcomes(lines, path.name), "weak_answer", embedder)]
        if "weak_alt_correct" in rows[0]:
            alt = [
                json.dumps(
                    {**row, **{f"{tier}_{kind}": row.get(f"{tier}_alt_{kind}") for tier, kind in _ALT}}
                )
                for row in rows
            ]
            pairs.append(_set(parse_outcomes(alt, path.name), "weak_alt_answer", embedder))
        found[path.name] = pairs
    if not found:
        raise FileNotFoundError(f"no set with weak_correct and strong_correct in {folder}")
    return found


_ALT = (("weak", "answer"), ("weak", "correct"), ("strong", "correct"))


def _set(outcomes: list[Outcome], answers: str, embedder: Embedder) -> RouteSet:
    vectors = np.stack([embedder.encode([outcome.prompt])[0].vector for outcome in outcomes])
    return RouteSet(
        outcomes,
        np.array([outcome.weak_right for outcome in outcomes]),
        np.array([outcome.strong_right for outcome in outcomes]),
        vectors,
        QueryOutcomes(outcomes, [query_signs(outcome.prompt) for outcome in outcomes], vectors),
        answers if all(outcome.weak_answer is not None for outcome in outcomes) else None,
    )
