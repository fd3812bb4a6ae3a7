"""The semantic cache on labelled pairs and on streams: what is hit, and how often wrongly.

    python -m benchmarks.cache --data DIR [--embedder DIR] [--budget 0.01] [--stream 3000] [--json]

Pairs: the first question is stored, the second asked, in a fresh scope with the shipped calibration; per
file and for all files of pairs together (`mixed`), by group, and apart for the half of the groups whose
texts nobody read while this was built.
Streams: questions with an intent arrive at an empty cache; an answer counts as right
if the intents agree, which is rough (one intent can have many answers). Beside ours: static thresholds,
equal text, a published per-entry method (streams; it serves nothing to entries without six labels, so to no
fresh scope), GPTCache and RedisVL. A peer that cannot run prints its error. All get the same vectors:
MiniLM-L6 in fp32.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np

from benchmarks import _cache_peers, environments, report
from benchmarks._cache_data import Asked, LabelledPair, drifting, read, steady
from benchmarks._cache_scores import figures
from benchmarks._cache_stream import Cache, ExactCache, OurCache, PublishedCache, StaticCache, replay
from semantic_cache.decision.base import Candidate, Observations
from semantic_cache.decision.decider import CalibratedDecider
from semantic_cache.decision.train.reference_embedder import EncodedTexts, ReferenceEmbedder

STATIC = (0.80, 0.85, 0.90, 0.95, 0.98)
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Pairs of one file and the rows of their texts."""

    pairs: Sequence[LabelledPair]
    rows: Sequence[tuple[int, int]]
    texts: EncodedTexts

    def cosines(self) -> list[float]:
        """Cosine similarity of each pair."""
        return [float(self.texts.vectors[a] @ self.texts.vectors[b]) for a, b in self.rows]


def ours(encoded: Encoded, decider: CalibratedDecider, budget: float) -> tuple[list[bool], dict[str, float]]:
    """Decide each pair in a scope of its own; returns what was served, and CPU milliseconds a pair."""
    accepted, times = [], []
    for number, (pair, (a, b)) in enumerate(zip(encoded.pairs, encoded.rows, strict=True)):
        one, other = encoded.texts[a], encoded.texts[b]
        stored = Candidate(1, pair.a, float(one.vector @ other.vector), one, Observations())  # type: ignore[arg-type]
        begun = time.process_time()
        decision = decider.decide(
            pair.b,
            other,  # type: ignore[arg-type]
            [stored],
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


def compare_pairs(
    sets: dict[str, list[LabelledPair]],
    embedder: ReferenceEmbedder,
    decider: CalibratedDecider,
    budget: float,
    *,
    peers: bool,
) -> tuple[Figures, dict[str, Figures]]:
    """Return our figures and everybody else's, by set."""
    mine: Figures = {}
    others: dict[str, Figures] = {}
    took: dict[str, dict[str, list[bool]]] = {}
    for name, pairs in sets.items():
        texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
        place = {text: row for row, text in enumerate(texts)}
        encoded = Encoded(pairs, [(place[pair.a], place[pair.b]) for pair in pairs], embedder.encode(texts))
        accepted, cost = ours(encoded, decider, budget)
        mine[name] = figures(pairs, accepted, grouped=True) | cost
        cosines = encoded.cosines()
        by_name = {"exact": [pair.a == pair.b for pair in pairs]}
        by_name |= {f"static-{cut:.2f}": [cosine >= cut for cosine in cosines] for cut in STATIC}
        if peers:
            for peer, run in (("gptcache", _cache_peers.gptcache), ("redisvl", _cache_peers.redisvl)):
                try:
                    found = run(np.asarray(encoded.texts.vectors), encoded.rows)
                    by_name |= {f"{peer}-{threshold}": hits for threshold, hits in found.items()}
                except environments.PeerUnavailable as error:
                    others.setdefault(peer, {})[name] = {"error": str(error)}
        for system, hits in by_name.items():
            others.setdefault(system, {})[name] = figures(pairs, hits, grouped=True)
        took[name] = {"ours": accepted, **by_name}
    if len(sets) > 1:
        pairs = [pair for part in sets.values() for pair in part]
        for system in took[next(iter(took))]:
            if all(system in part for part in took.values()):
                joined = figures(pairs, [hit for part in took.values() for hit in part[system]], grouped=True)
                if system == "ours":
                    mine["mixed"] = joined
                else:
                    others[system]["mixed"] = joined
    return mine, others


def compare_streams(
    sets: dict[str, list[Asked]],
    embedder: ReferenceEmbedder,
    decider: CalibratedDecider,
    budget: float,
    count: int,
) -> tuple[Figures, dict[str, Figures]]:
    """Replay each set in a steady order, and with new intents in its second half."""
    mine: Figures = {}
    others: dict[str, Figures] = {}
    for name, asked in sets.items():
        texts = sorted({question.text for question in asked})
        place = {text: row for row, text in enumerate(texts)}
        whole = embedder.encode(texts)
        for kind, order in (("steady", steady(asked, count)), ("drift", drifting(asked, count))):
            encoded = whole.take([place[question.text] for question in order])
            systems: dict[str, Callable[[], Cache]] = {
                "exact": lambda order=order: ExactCache(order),  # type: ignore[misc]
                "published": lambda encoded=encoded: PublishedCache(encoded.vectors, budget),  # type: ignore[misc]
                **{
                    f"static-{cut:.2f}": lambda cut=cut, encoded=encoded: StaticCache(encoded.vectors, cut)  # type: ignore[misc]
                    for cut in STATIC
                },
            }
            mine.setdefault(name, {})[kind] = replay(order, OurCache(order, encoded, decider, budget))
            for system, make in systems.items():
                others.setdefault(system, {}).setdefault(name, {})[kind] = replay(order, make())
    return mine, others


def bench(
    *,
    data: Path,
    embedder: Path | None = None,
    budget: float = 0.01,
    stream: int = 3000,
    only: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    peers: bool = True,
    encodings: Path = Path(".forebay/bench-encodings"),
    threads: int = 2,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Measure the quality of the semantic cache.

    Parameters
    ----------
    data: folder of JSON Lines files: pairs with a, b, same and group, or questions with text and intent.
    embedder: folder with MiniLM-L6's weights; by default where `forebay models pull minilm-l6` puts them.
    budget: error budget of our cache and of the published method.
    stream: questions in a replay; 0 leaves the replays out.
    only: names of the files to read; all by default.
    peers: also run GPTCache and RedisVL.
    encodings: folder in which encodings are kept between runs.
    threads: threads that encode.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    sets = read(data, only=only or ())
    folder = embedder or environments.root().parent / "models" / "minilm-l6"
    if not (folder / "model.safetensors").exists():
        sys.exit(f"no MiniLM-L6 in {folder}: forebay models pull minilm-l6, or --embedder DIR")
    reference = ReferenceEmbedder(folder, encodings, threads)
    decider = CalibratedDecider()
    mine, others = compare_pairs(sets.pairs, reference, decider, budget, peers=peers)
    _print_pairs(mine, others)
    if stream:
        more, also = compare_streams(sets.streams, reference, decider, budget, stream)
        _print_streams(more, also)
        mine |= more
        for system, by_set in also.items():
            others.setdefault(system, {}).update(by_set)
    ratios = {
        system: {
            name: report.ratios(mine[name], {system: found}, {"recall", "precision"})[system]
            for name, found in by_set.items()
            if name in mine
        }
        for system, by_set in others.items()
    }
    if json_:
        line = {"bench": "cache", "machine": machine, "figures": mine, "peers": others, "ratios": ratios}
        print(json.dumps(line))


def _print_pairs(mine: Figures, others: dict[str, Figures]) -> None:
    print(
        f"{'set':<22}{'system':<18}{'recall':>8}{'wrong':>7}{'of':>6}{'rate':>8}{'upper95':>9}{'precision':>11}{'lower95':>9}"
    )
    for name, found in mine.items():
        rows = [("ours", found), ("ours, unseen", found["unseen"]), ("ours, seen", found["seen"])]
        rows += [(system, by_set[name]) for system, by_set in others.items() if name in by_set]
        for system, row in rows:
            if "error" in row:
                print(f"{name:<22}{system:<18}{row['error']}")
                continue
            cells = [
                row[key]
                for key in (
                    "recall",
                    "wrong",
                    "different",
                    "wrong_rate",
                    "wrong_rate_upper95",
                    "precision",
                    "precision_lower95",
                )
            ]
            print(
                f"{name:<22}{system:<18}"
                + "".join(f"{_cell(c):>{w}}" for c, w in zip(cells, (8, 7, 6, 8, 9, 11, 9), strict=True))
            )
        for group, row in found["groups"].items():
            mark = "unseen" if row["unseen"] else "seen"
            print(
                f"    {mark:<7} {group[:74]:<76} recall {_cell(row['recall']):>6}  "
                f"wrong {row['wrong']:>3} of {row['different']}"
            )


def _print_streams(mine: Figures, others: dict[str, Figures]) -> None:
    for name, kinds in mine.items():
        for kind, found in kinds.items():
            for system, row in [
                ("ours", found),
                *((s, by_set[name][kind]) for s, by_set in others.items() if name in by_set),
            ]:
                rates = "  ".join(_cell(row[key]) for key in ("hit_rate", "wrong_hit_rate", "wrong_per_hit"))
                print(
                    f"{name:<20}{kind:<8}{system:<14} hits, wrong, wrong per hit: {rates}  "
                    f"(up to {_cell(row['wrong_per_hit_upper95'])}); "
                    f"by quarter {row['hit_rate_by_quarter']}"
                )


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)


if __name__ == "__main__":
    cyclopts.run(bench)
