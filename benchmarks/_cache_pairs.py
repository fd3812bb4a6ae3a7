"""Pairs: the first question is stored, the second asked, each in a scope of its own, by every system."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks import _cache_peers
from benchmarks._cache_data import LabelledPair
from benchmarks._cache_encodings import Encodings
from benchmarks._cache_progress import say
from benchmarks._cache_scores import figures
from benchmarks.report import Figures
from semantic_cache.decision.base import Candidate, Observations
from semantic_cache.decision.decider import CalibratedDecider
from semantic_cache.semantic.service.looks import FLOOR

STATIC = (0.80, 0.85, 0.90, 0.95, 0.98)
MIXED = "mixed"


@dataclass(slots=True)
class Compared:
    """Figures by set: ours, and those of the others by name."""

    mine: Figures = field(default_factory=dict)
    others: dict[str, Figures] = field(default_factory=dict)
    took: dict[str, list[bool]] = field(default_factory=dict)
    """What we would have served, by set."""


def compare(
    sets: dict[str, list[LabelledPair]],
    encodings: Encodings,
    decider: CalibratedDecider,
    budget: float,
    *,
    sample: int,
) -> Compared:
    """Decide every pair by every system. Peers run their whole stack on `sample` pairs; 0: no peers."""
    out = Compared()
    took: dict[str, dict[str, list[bool]]] = {}
    notes: dict[str, str] = {}
    for name, pairs in sets.items():
        say(f"{name}: {len(pairs)} pairs")
        encodings.add(text for pair in pairs for text in (pair.a, pair.b))
        accepted, cost = ours(pairs, encodings, decider, budget)
        out.mine[name] = figures(pairs, accepted, grouped=True) | cost
        out.took[name] = accepted
        cosines = [float(encodings[pair.a].vector @ encodings[pair.b].vector) for pair in pairs]
        by_name = {"exact": [pair.a == pair.b for pair in pairs]}
        by_name |= {f"static-{cut:.2f}": [cosine >= cut for cosine in cosines] for cut in STATIC}
        for peer in _cache_peers.PEERS if sample else ():
            say(f"{name}: {peer.name}")
            texts = list(dict.fromkeys(text for pair in pairs for text in (pair.a, pair.b)))
            place = {text: row for row, text in enumerate(texts)}
            rows = [(place[pair.a], place[pair.b]) for pair in pairs]
            answer = peer.run(encodings.vectors(texts), rows, sample)
            if answer.error:
                out.others.setdefault(peer.name, {})[name] = {"error": answer.error}
            by_name |= answer.accepted
            notes |= dict.fromkeys(answer.accepted, answer.note)
        for system, hits in by_name.items():
            found = figures(pairs, hits, grouped=True)
            out.others.setdefault(system, {})[name] = found | (
                {"method": notes[system]} if system in notes else {}
            )
        took[name] = {"ours": accepted, **by_name}
    if len(sets) > 1:
        pairs = [pair for part in sets.values() for pair in part]
        for system in took[next(iter(took))]:
            if all(system in part for part in took.values()):
                joined = figures(pairs, [hit for part in took.values() for hit in part[system]], grouped=True)
                if system == "ours":
                    out.mine[MIXED] = joined
                else:
                    out.others[system][MIXED] = joined
    return out


def ours(
    pairs: Sequence[LabelledPair], encodings: Encodings, decider: CalibratedDecider, budget: float
) -> tuple[list[bool], dict[str, float]]:
    """Decide each pair as the semantic process does; returns what was served, and CPU milliseconds a pair."""
    accepted, times = [], []
    for number, pair in enumerate(pairs):
        one, other = encodings[pair.a], encodings[pair.b]
        # The store keeps vectors in fp16.
        similarity = float(one.vector.astype("<f2").astype(np.float32) @ other.vector)
        begun = time.process_time()
        decision = decider.decide(
            pair.b,
            other,
            [Candidate(1, pair.a, similarity, one, Observations())] if similarity >= FLOOR else [],
            error_budget=budget,
            seed=hashlib.sha256(str(number).encode()).digest(),
        )
        times.append((time.process_time() - begun) * 1000)
        # An audited hit is one that would have been served.
        accepted.append(decision.serve is not None or decision.reason == "audit")
    return accepted, {
        "cpu_ms_median": round(float(np.median(times)), 3),
        "cpu_ms_p99": round(float(np.quantile(times, 0.99)), 3),
    }
