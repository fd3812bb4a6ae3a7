"""Questions arriving over time at an empty cache: what is hit, and how often wrongly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks._cache_data import Asked, drifting, steady
from benchmarks._cache_encodings import Encodings
from benchmarks._cache_pairs import STATIC
from benchmarks._cache_progress import say
from benchmarks._cache_published import PublishedEntry
from benchmarks._cache_scores import stream_figures
from benchmarks.report import Figures
from semantic_cache.decision.base import Candidate, Observations
from semantic_cache.decision.decider import POOL_LABELS, CalibratedDecider
from semantic_cache.decision.drift import alarm
from semantic_cache.semantic.service.looks import FLOOR

NEAREST = 4
"""Candidates, as in the gateway."""


class Cache(Protocol):
    """A cache in a replay: rows are places in the stream."""

    def ask(self, row: int, right: Callable[[int], bool]) -> int | None:
        """Return the row whose answer is served, or None; `right(row)` labels an explored answer. May
        insert."""


class _Stored:
    """The rows that are stored, and their vectors."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self.rows: list[int] = []
        self._matrix = np.empty_like(vectors)

    def insert(self, row: int) -> None:
        self._matrix[len(self.rows)] = self.vectors[row]
        self.rows.append(row)

    def nearest(self, row: int, count: int) -> list[tuple[int, float]]:
        if not self.rows:
            return []
        alike = self._matrix[: len(self.rows)] @ self.vectors[row]
        best = np.argsort(-alike)[:count]
        return [(self.rows[place], float(alike[place])) for place in best]


class ExactCache:
    """Serves equal texts only."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self._asked = asked
        self._rows: dict[str, int] = {}

    def ask(self, row: int, right: Callable[[int], bool]) -> int | None:
        """Serve the first question of the same text."""
        found = self._rows.setdefault(self._asked[row].text, row)
        return None if found == row else found


class StaticCache:
    """Serves the nearest neighbour from a similarity on; inserts what it does not serve."""

    def __init__(self, vectors: NDArray[np.float32], threshold: float) -> None:
        self._stored, self._threshold = _Stored(vectors), threshold

    def ask(self, row: int, right: Callable[[int], bool]) -> int | None:
        """Serve by similarity alone."""
        near = self._stored.nearest(row, 1)
        if near and near[0][1] >= self._threshold:
            return near[0][0]
        self._stored.insert(row)
        return None


class PublishedCache:
    """The published per-entry method; inserts only where the neighbour was wrong."""

    def __init__(self, vectors: NDArray[np.float32], budget: float) -> None:
        self._stored, self._budget = _Stored(vectors), budget
        self._entries: dict[int, PublishedEntry] = {}

    def ask(self, row: int, right: Callable[[int], bool]) -> int | None:
        """Explore with the method's probability (by the row's digest), else serve."""
        near = self._stored.nearest(row, 1)
        if near:
            found, similarity = near[0]
            entry = self._entries[found]
            if _chance(row) >= entry.explore(similarity, self._budget):
                return found
            entry.observe(similarity, right(found))
            if entry.seen[-1][1]:
                return None
        self._stored.insert(row)
        self._entries[row] = PublishedEntry()
        return None


class OurCache:
    """Forebay's decision, learning from what it explores."""

    def __init__(
        self, asked: Sequence[Asked], encodings: Encodings, decider: CalibratedDecider, budget: float
    ) -> None:
        self.bound: float | None = None
        """What was said of the last hit."""
        self.alarms: list[int] = []
        """Questions at which drift was noticed."""
        self._asked, self._encodings, self._decider, self._budget = asked, encodings, decider, budget
        self._stored = _Stored(encodings.vectors([question.text for question in asked]))
        self._alarmed = False
        self._history: dict[int, Observations] = {}
        self._pool = Observations()

    def ask(self, row: int, right: Callable[[int], bool]) -> int | None:
        """Decide, and learn from the label if it explores."""
        candidates = [
            Candidate(
                found,
                self._asked[found].text,
                similarity,
                self._encodings[self._asked[found].text],
                self._history.get(found, Observations()),
            )
            for found, similarity in self._stored.nearest(row, NEAREST)
            if similarity >= FLOOR
        ]
        decision = self._decider.decide(
            self._asked[row].text,
            self._encodings[self._asked[row].text],
            candidates,
            error_budget=self._budget,
            seed=hashlib.sha256(str(row).encode()).digest(),
            pool=self._pool,
        )
        if decision.serve is not None:
            self.bound = decision.bound
            return decision.serve
        if decision.explored is not None:
            found = decision.explored
            assessment = next(v for v in decision.verdicts if v.id == found)
            label = right(found)
            history = self._history.get(found, Observations())
            self._history[found] = self._decider.learn(history, assessment, same=label)
            self._pool = self._decider.learn(self._pool, assessment, same=label, keep=POOL_LABELS)
            alarmed = bool(alarm(self._pool))
            if alarmed and not self._alarmed:
                self.alarms.append(row)
            self._alarmed = alarmed
        self._stored.insert(row)
        return None


def compare(
    sets: dict[str, list[Asked]], encodings: Encodings, decider: CalibratedDecider, budget: float, count: int
) -> tuple[Figures, dict[str, Figures]]:
    """Replay each set in a steady order, and with new intents in its second half; ours and the others."""
    mine: Figures = {}
    others: dict[str, Figures] = {}
    for name, asked in sets.items():
        for kind, order in (("steady", steady(asked, count)), ("drift", drifting(asked, count))):
            say(f"{name}: {len(order)} questions, {kind}")
            texts = [question.text for question in order]
            encodings.add(texts)
            vectors = encodings.vectors(texts)
            systems: dict[str, Cache] = {
                "exact": ExactCache(order),
                "published": PublishedCache(vectors, budget),
                **{f"static-{cut:.2f}": StaticCache(vectors, cut) for cut in STATIC},
            }
            mine.setdefault(name, {})[kind] = replay(order, OurCache(order, encodings, decider, budget))
            for system, cache in systems.items():
                others.setdefault(system, {}).setdefault(name, {})[kind] = replay(order, cache)
    return mine, others


def replay(asked: Sequence[Asked], cache: Cache) -> dict[str, Any]:
    """Ask all questions in turn; "oos" is never right."""

    def right(row: int, found: int) -> bool:
        return asked[found].intent == asked[row].intent != "oos"

    hits, wrong, bounds = [], [], []
    for row in range(len(asked)):
        served = cache.ask(row, lambda found, row=row: right(row, found))  # type: ignore[misc]
        hits.append(served is not None)
        bounds.append(cache.bound if served is not None and isinstance(cache, OurCache) else None)
        wrong.append(served is not None and not right(row, served) and asked[served].text != asked[row].text)
    out = stream_figures(hits, wrong, bounds)
    if isinstance(cache, OurCache):
        out["drift_noticed_at"] = cache.alarms
    return out


def _chance(row: int) -> float:
    return int.from_bytes(hashlib.sha256(str(row).encode()).digest()[:8], "big") / 2**64
