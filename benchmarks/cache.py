"""The semantic cache on labelled pairs, on streams and over HTTP: hits, wrong hits, and what they cost.

    forebay bench cache --data DIR [--json] [--quick]

Pairs: the first question is stored, the second asked, in a fresh scope with the shipped calibration; per
file and for all files of pairs together (`mixed`), by kind, and apart for the half of the kinds whose texts
nobody read while this was built. Streams: questions with an intent arrive at an empty cache; an answer
counts as right if the intents agree, which is rough (one intent can have many answers). HTTP: a gateway and
its semantic process, SQLite and a mock upstream that counts. Beside ours: equal text, static thresholds, a
published per-entry method (streams; it serves nothing to entries without six labels, so to no fresh scope),
GPTCache and RedisVL, which are installed into throw-away environments. All get the same vectors, those of
the embedder that the gateway serves with. A case that a peer cannot serve prints the peer's error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from benchmarks import (
    _cache_http,
    _cache_pairs,
    _cache_peers,
    _cache_plan,
    _cache_print,
    _cache_stream,
    environments,
    report,
)
from benchmarks._cache_data import BadData, Sets, read, some
from benchmarks._cache_encodings import Encodings, reference, served
from benchmarks._cache_progress import say
from benchmarks._cache_targets import targets
from benchmarks.report import Figures
from semantic_cache.decision.decider import CalibratedDecider

STREAM, QUICK_STREAM = 3000, 400
SAMPLE, QUICK_SAMPLE = 120, 12
QUICK_PAIRS = 200


def bench(
    *,
    data: Path,
    embedder: Path | None = None,
    budget: float = 0.01,
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    stream: int | None = None,
    only: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    peers: bool = True,
    http: bool = True,
    reference_: Annotated[bool, cyclopts.Parameter(name="--reference", negative="")] = False,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Measure the semantic cache: how much it hits, how often wrongly, how quickly.

    DIR holds files named *.jsonl, one JSON object a line, of either kind:

    - pairs of questions: {"a": "one that is stored", "b": "one that is asked", "same": 1 if an answer to a is
      one to b, else 0, "group": "the kind of pair"}

    - questions that arrive one after another: {"text": "a question", "intent": "what it is about; oos for one
      that nothing may answer"}

    It takes three minutes of CPU, and tells on standard error how far it is. `make models` brings the
    embedder.

    Parameters
    ----------
    data
        Folder with the files.
    embedder
        Folder with MiniLM-L6's weights (default: where `forebay models pull minilm-l6` puts them).
    budget
        Error budget of our cache and of the published method.
    quick
        Few of everything, in half a minute, to see that all of it runs; its figures are rough.
    stream
        Questions in a replay (default 3000); 0 leaves the replays out.
    only
        Names of the files to read (default: all).
    peers
        Also run GPTCache and RedisVL; REDISVL_URL names a Redis with the query engine, for the latter.
    http
        Also measure latencies of a real gateway.
    reference_
        Also decide the pairs with the embedder in torch and fp32, and count decisions that differ.
    json_
        Print one JSON object as the last line.
    """
    machine = report.machine()
    folder = embedder or environments.root().parent / "models" / "minilm-l6"
    if not (folder / "model.safetensors").exists():
        sys.exit(f"bench cache: no MiniLM-L6 in {folder}: forebay models pull minilm-l6, or --embedder DIR")
    try:
        sets = read(data, only=only or ())
        if peers:
            for peer in _cache_peers.PEERS:
                peer.install()
        figures, others = _run(
            some(sets, QUICK_PAIRS) if quick else sets,
            folder,
            budget,
            stream=(QUICK_STREAM if quick else STREAM) if stream is None else stream,
            sample=(QUICK_SAMPLE if quick else SAMPLE) if peers else 0,
            with_reference=reference_,
        )
        over_http = None
        if http:
            over_http = _cache_http.measure(
                sets, embedder, _cache_plan.QUICK if quick else _cache_plan.Size()
            )
            _cache_print.print_http(over_http)
    except (BadData, _cache_plan.BadRun, environments.PeerUnavailable) as error:
        sys.exit(f"bench cache: {error}")
    held = list(targets(figures, over_http, budget))
    _cache_print.print_targets(held)
    ratios = {
        system: {
            name: report.ratios(figures[name], {system: found}, {"recall", "precision"})[system]
            for name, found in by_set.items()
            if name in figures
        }
        for system, by_set in others.items()
    }
    say("done")
    if json_:
        if over_http is not None:
            figures["http"] = over_http
        line = {
            "bench": "cache",
            "machine": machine | {"load_average_end": round(os.getloadavg()[0], 2)},
            "figures": figures,
            "peers": others,
            "ratios": ratios,
            "targets": held,
        }
        print(json.dumps(line))


def _run(
    sets: Sets, folder: Path, budget: float, *, stream: int, sample: int, with_reference: bool
) -> tuple[Figures, dict[str, Figures]]:
    """Compare on pairs and streams; print the tables, return the figures."""
    encodings, decider = Encodings(served(folder)), CalibratedDecider()
    compared = _cache_pairs.compare(sets.pairs, encodings, decider, budget, sample=sample)
    figures, others = compared.mine, compared.others
    if figures:
        _cache_print.print_pairs(figures, others)
    if with_reference:
        torch = Encodings(reference(folder, os.cpu_count() or 1))
        for name, pairs in sets.pairs.items():
            say(f"{name}: the reference embedder")
            torch.add(text for pair in pairs for text in (pair.a, pair.b))
            accepted, _ = _cache_pairs.ours(pairs, torch, decider, budget)
            differ = sum(one != other for one, other in zip(accepted, compared.took[name], strict=True))
            figures[name]["reference_differs"] = differ
            print(f"{name}: with the embedder in torch and fp32 {differ} of {len(pairs)} decisions differ")
    if stream:
        mine, theirs = _cache_stream.compare(sets.streams, encodings, decider, budget, stream)
        _cache_print.print_streams(mine, theirs)
        figures |= mine
        for system, by_set in theirs.items():
            others.setdefault(system, {}).update(by_set)
    return figures, others


if __name__ == "__main__":
    cyclopts.run(bench)
