"""The router on outcomes of a weak and a strong model: what is sent to the strong one, and what that costs.

    python -m benchmarks.route --data DIR [--splits 50] [--train 0.5] [--embedder DIR] [--json]

Each set is split at random, 50 times; everything is learned from the training part, thresholds and
calibration from scores of models that had not seen the row (5 folds within that part), and counted on the
rest. The router goes by the query, or by the weak model's answer where the set has it, whichever is known to
beat a coin by more; where neither is, it says so and tosses one. Beside it: a coin, the prompt's length, the
topic's mean, RouteLLM's matrix factorisation (trained on the same part, same vectors) and an oracle. Vectors
are those of the MiniLM-L6 that the semantic cache serves with.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

# Matrices here are small; threads would only get in one another's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cyclopts
import numpy as np
from numpy.typing import NDArray

from benchmarks import _live, environments, report
from benchmarks._route_data import RouteSet, read_sets
from benchmarks._route_scores import calibration_error, figures, means, share_for
from gateway.models.store import ModelStore
from router.after.signs import AnswerSigns, SmallAnswer, signs_of
from router.before.topics import fit_topics
from router.errors import TooFewOutcomes
from router.fit.answers import fit_confidence
from router.fit.factorization import fit_factorization
from router.fit.folds import Rows, folds
from router.fit.knobs import for_quality, probabilities
from router.fit.signal import Signal, auroc, measure
from router.isotonic import fit_isotonic
from router.policy.dominance import TierRecord, dominated
from router.policy.escalation import FARTHEST
from semantic_cache.embed.open import LocalModel, open_embedder

_ASKED = (0.90, 0.95, 0.98)
_FOLDS = 5
_BLOCK = 20
_HIGHER = {"apgr", "auroc", "calls_saved_at_95"}
Figures = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows are learned from, in folds, and which are counted."""

    parts: list[Rows]
    past: Rows
    rest: Rows


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of the training part (by models that had not seen the row) and of the rest; higher: escalate."""

    past: Floats
    rest: Floats
    small_right: Floats
    """P(weak right) for the rest."""
    signal: Signal


def split(count: int, train: float, seed: int) -> Split:
    """Return a random split; parts hold places within `past`."""
    order = np.random.default_rng(seed).permutation(count).astype(np.intp)
    size = round(train * count)
    return Split(folds(size, _FOLDS, seed), order[:size], order[size:])


def by_query(data: RouteSet, cut: Split) -> Scored:
    """Score queries before any model has answered."""
    past = data.queries.unseen(cut.past, cut.parts)
    rest = data.queries.scores(data.queries.fit(cut.past), cut.past, cut.rest)
    calibration = fit_isotonic((-past).tolist(), data.weak[cut.past].astype(float).tolist(), _BLOCK)
    right = np.array([calibration(-score) for score in rest])
    return Scored(past, rest, right, measure(past, data.gain[cut.past], cut.parts))


def by_answer(data: RouteSet, signs: list[AnswerSigns], cut: Split) -> Scored:
    """Score the weak model's answers."""
    confidence, scores = fit_confidence(
        [signs[row] for row in cut.past], data.weak[cut.past].tolist(), cut.parts
    )
    rest = np.array(
        [-FARTHEST if signs[row].broken else confidence.model.score(signs[row].values) for row in cut.rest]
    )
    right = np.array([confidence.judge(signs[row]).probability for row in cut.rest])
    return Scored(-scores, -rest, right, measure(-scores, data.gain[cut.past], cut.parts))


def coin(data: RouteSet, cut: Split, signal: Signal) -> Scored:
    """Score everything alike, with what the training part knows of all."""
    right = np.full(len(cut.rest), data.weak[cut.past].mean())
    return Scored(np.zeros(len(cut.past)), np.zeros(len(cut.rest)), right, signal)


def asked(data: RouteSet, cut: Split, scored: Scored, quality: float) -> Figures:
    """Set the quality knob on the training part and look what comes of it on the rest.

    Escalation on a tie is counted by its probability, which is what many draws come to.
    """
    escalation = for_quality(
        scored.past, data.weak[cut.past], data.strong[cut.past], quality, trust=scored.signal.trust
    )
    p = probabilities(escalation, scored.rest)
    weak, strong = data.weak[cut.rest], data.strong[cut.rest]
    realised = float((p * strong + (1 - p) * weak).mean() / strong.mean())
    return {
        "realised": realised,
        "within_a_point": float(realised >= quality - 0.01),
        "calls": float(p.mean()),
        "hindsight_calls": share_for(scored.rest, weak, strong, quality),
    }


def run(data: RouteSet, splits: int, train: float) -> tuple[Figures, dict[str, Figures]]:
    """Return our figures and the peers', means over splits."""
    signs = None
    begun = time.process_time()
    if data.answers is not None:
        signs = [
            signs_of(SmallAnswer(outcome.prompt, outcome.weak_answer or "")) for outcome in data.outcomes
        ]
    reading_ms = (time.process_time() - begun) * 1000 / len(data.outcomes)
    costs = data.costs()
    ours: dict[str, list[Figures]] = defaultdict(list)
    peers: dict[str, list[Figures]] = defaultdict(list)
    knobs: dict[float, list[Figures]] = defaultdict(list)
    modes: list[str] = []
    query_signals, answer_signals, answer_auroc = [], [], []
    for seed in range(splits):
        cut = split(len(data.outcomes), train, seed)
        weak, strong = data.weak[cut.rest], data.strong[cut.rest]
        paid = None if costs is None else (costs[0][cut.rest], costs[1][cut.rest])
        query = by_query(data, cut)
        query_signals.append(query.signal)
        mode, chosen = "coin", coin(data, cut, query.signal)
        if query.signal.helps:
            mode, chosen = "query", query
        if signs is not None:
            answer = by_answer(data, signs, cut)
            answer_signals.append(answer.signal)
            answer_auroc.append(auroc(-answer.rest, weak))
            if answer.signal.helps and answer.signal.lower > chosen.signal.lower:
                mode, chosen = "answer", answer
        modes.append(mode)
        for name, scored in (("router", chosen), ("query_only", query)):
            cascade = mode == "answer" and scored is chosen
            row = figures(scored.rest, weak, strong, paid, cascade=cascade)
            row["calibration_error"] = calibration_error(scored.small_right, weak)
            ours[name].append(row)
        for quality in _ASKED:
            knobs[quality].append(asked(data, cut, chosen, quality))
        for name, scores in _peers(data, cut, seed).items():
            peers[name].append(figures(scores, weak, strong, paid, cascade=False))
    found = means(ours["router"])
    found["splits"] = splits
    found["trained_on"] = round(train * len(data.outcomes))
    found["tested_on"] = len(data.outcomes) - found["trained_on"]
    found["decided_by"] = {mode: modes.count(mode) for mode in ("query", "answer", "coin")}
    found["query_only"] = means(ours["query_only"]) | _signal(query_signals)
    found["query_only"]["said"] = query_signals[0].said("the query alone")
    if answer_signals:
        found["answer"] = {"field": data.answers} | _signal(answer_signals)
        found["answer"]["auroc"] = round(float(np.mean([a for a in answer_auroc if a is not None])), 4)
        found["answer"]["read_cpu_ms"] = round(reading_ms, 3)
        found["answer"]["said"] = answer_signals[0].said("the small model's answer")
    found["asked"] = {str(quality): _asked_means(rows) for quality, rows in knobs.items()}
    if costs is not None:
        record = {
            "weak": TierRecord(float(data.weak.mean()), float(costs[0].mean())),
            "strong": TierRecord(float(data.strong.mean()), float(costs[1].mean())),
        }
        found["dominated"] = dominated(record)
    return found, {name: means(rows) for name, rows in peers.items()}


def _peers(data: RouteSet, cut: Split, seed: int) -> dict[str, Floats]:
    topics = fit_topics([data.outcomes[row].topic for row in cut.past], data.gain[cut.past].tolist())
    found = {
        "random": np.zeros(len(cut.rest)),
        "length": np.array([float(len(data.outcomes[row].prompt)) for row in cut.rest]),
        "topic": np.array([topics(data.outcomes[row].topic) for row in cut.rest]),
        "oracle": data.gain[cut.rest],
    }
    try:
        factorised = fit_factorization(data.vectors[cut.past], data.gain[cut.past], seed)
    except TooFewOutcomes:
        return found
    found["routellm-mf"] = np.array([factorised.linear(data.vectors[row].tolist()) for row in cut.rest])
    return found


def _signal(signals: list[Signal]) -> Figures:
    return {
        "train_apgr": round(float(np.mean([signal.recovered for signal in signals])), 4),
        "train_apgr_lower": round(float(np.mean([signal.lower for signal in signals])), 4),
        "helps_in_splits": sum(signal.helps for signal in signals),
    }


def _asked_means(rows: list[Figures]) -> Figures:
    found = means(rows)
    found["calls_over_hindsight"] = (
        round(found["calls"] / found["hindsight_calls"], 3) if found["hindsight_calls"] else None
    )
    return found


def bench(
    *,
    data: Path,
    embedder: Path | None = None,
    splits: int = 50,
    train: float = 0.5,
    only: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    live: bool = True,
    model: str = "smollm2-135m-instruct",
    large_accuracy: float = 0.97,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Measure the router.

    Parameters
    ----------
    data: folder of JSON Lines files with prompt, weak_correct and strong_correct at least.
    embedder: folder with MiniLM-L6's weights; by default where `forebay models pull minilm-l6` puts them.
    splits: random splits of each set.
    train: share of each set that is learned from.
    only: names of the files to read; all by default.
    live: also run the cascade on the bundled engine behind a gateway, some minutes.
    model: name or path of its small model.
    large_accuracy: share of questions that its large model, a mock, answers rightly.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    folder = embedder or environments.root().parent / "models" / "minilm-l6"
    if not (folder / "model.safetensors").exists():
        sys.exit(f"no MiniLM-L6 in {folder}: forebay models pull minilm-l6, or --embedder DIR")
    small = ModelStore().path(model) if live else None
    sets = read_sets(data, open_embedder(LocalModel("minilm-l6", folder)), only or ())
    mine: Figures = {}
    others: dict[str, Figures] = defaultdict(dict)
    for name, pairs in sets.items():
        for number, pair in enumerate(pairs):
            found, peers = run(pair, splits, train)
            # A second pair of models stands under the first one of its file.
            if number == 0:
                mine[name] = found
            else:
                mine[name]["alt"] = found
            for peer, row in peers.items():
                if number == 0:
                    others[peer][name] = row
                else:
                    others[peer][name]["alt"] = row
            _print(name if number == 0 else f"{name} (alt)", found, peers)
        answers = [row["answer"] for row in (mine[name], mine[name].get("alt", {})) if "answer" in row]
        if answers:
            mine[name]["confidence_auroc"] = {answer["field"]: answer["auroc"] for answer in answers}
    if small is not None:
        mine["live"], simple = _live.measure_live(small, large_accuracy)
        for peer, row in simple.items():
            others[peer]["live"] = row
        _live.show(mine["live"], simple)
    ratios = {
        peer: {name: report.ratios(mine[name], {peer: row}, _HIGHER)[peer] for name, row in rows.items()}
        for peer, rows in others.items()
    }
    if json_:
        line = {"bench": "route", "machine": machine, "figures": mine, "peers": others, "ratios": ratios}
        print(json.dumps(line))


def _print(name: str, found: Figures, peers: dict[str, Figures]) -> None:
    print(f"\n{name}: learned from {found['trained_on']}, counted on {found['tested_on']}")
    print(f"decided by {found['decided_by']}; {found['query_only']['said']}")
    if "answer" in found:
        print(f"{found['answer']['said']}; AUROC on the rest {found['answer']['auroc']:.3f}")
    columns = ("strong_calls_at_95", "strong_calls_at_100", "apgr", "cost_at_95", "calibration_error")
    print(f"{'':<16}" + "".join(f"{column:>21}" for column in columns))
    for system, row in {"ours": found, "ours, query only": found["query_only"], **peers}.items():
        cells = ("-" if row.get(column) is None else f"{row[column]:.3f}" for column in columns)
        print(f"{system:<16}" + "".join(f"{cell:>21}" for cell in cells))
    for quality, row in found["asked"].items():
        print(
            f"asked {quality}: realised {row['realised']:.3f}, at most a point less in "
            f"{row['within_a_point']:.0%} of splits; strong calls {row['calls']:.3f}, "
            f"{row['calls_over_hindsight']} of the best in hindsight"
        )


if __name__ == "__main__":
    cyclopts.run(bench)
