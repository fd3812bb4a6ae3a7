"""The vector index: latency, recall and memory, beside a plain product with all vectors.

    forebay bench index [--sizes 1000 10000 100000 1000000] [--questions 30000] [--json]

Vectors are made up with the structure of sentence embeddings (`_embedding_like.py`), queries lie at cosines
of 0.75 to 0.98 to a stored one. `questions` are real: made sentences, embedded by MiniLM-L6, asked for in
other words. Recall@4 is the share of the four nearest by fp32 products that the index returns. Latencies are
of one thread, one query at a time: wall p50 and p99, and the median of CPU time, which a busy machine moves
less. Memory is what the process grew by. `scopes` is all of the largest size in scopes of ten.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks._embedding_like import EmbeddingLike
from benchmarks._made_questions import question_pairs
from gateway.models.store import ModelStore
from semantic_cache.embed.bert import BertEmbedder
from semantic_cache.index.index import Index

Floats = NDArray[np.float32]
DIM = 384
NEAREST = 4
QUERIES = 200
SCOPE_ROWS = 10
ONE = b"\0" * 32


def bench(
    *,
    sizes: Annotated[tuple[int, ...], cyclopts.Parameter(consume_multiple=True)] = (
        1000,
        10_000,
        100_000,
        1_000_000,
    ),
    questions: int = 30_000,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Measure the index.

    Parameters
    ----------
    sizes: numbers of vectors in one scope; the largest is also spread over scopes of ten.
    questions: number of real questions; 0 leaves them out.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    figures: dict[str, float] = {}
    flat: dict[str, float] = {}
    if questions:
        stored, asked = _embedded(questions)
        some = np.random.default_rng(0).choice(questions, min(QUERIES, questions), replace=False)
        _one_scope("questions", stored, asked[some], figures, flat)
    for size in sizes:
        made = EmbeddingLike(DIM, seed=size)
        vectors = made.vectors(size)
        some = np.random.default_rng(0).choice(size, min(QUERIES, size), replace=False)
        _one_scope(f"{size}", vectors, made.paraphrases(vectors[some]), figures, flat)
        if size == max(sizes):
            _many_scopes(vectors, made.paraphrases(vectors[some]), some, figures)
    ratios = report.ratios(figures, {"flat-fp32": flat}, higher_is_better=set())
    report.publish("index", machine, figures, {"flat-fp32": flat}, ratios, as_json=json_)


def _one_scope(
    name: str, vectors: Floats, queries: Floats, figures: dict[str, float], flat: dict[str, float]
) -> None:
    before = _resident_bytes()
    index = Index(DIM)
    begun = time.perf_counter()
    for at, vector in enumerate(vectors):
        index.add(at, ONE, vector)
    figures[f"{name}_add_us"] = round((time.perf_counter() - begun) / len(vectors) * 1e6, 1)
    index.settle()
    figures[f"{name}_ready_s"] = round(time.perf_counter() - begun, 1)
    figures[f"{name}_memory_mb"] = round((_resident_bytes() - before) / 1e6, 1)
    flat[f"{name}_memory_mb"] = round(vectors.nbytes / 1e6, 1)

    def ours(query: Floats) -> list[int]:
        return [id_ for id_, _ in index.search(ONE, query, NEAREST)]

    def products(query: Floats) -> list[int]:
        cosines = vectors @ query
        best = np.argpartition(-cosines, NEAREST)[:NEAREST]
        return best.tolist()  # type: ignore[no-any-return]

    found = _timed(name, ours, queries, figures)
    exact = _timed(name, products, queries, flat)
    shared = sum(len(set(a) & set(b)) for a, b in zip(found, exact, strict=True))
    figures[f"{name}_recall_at_4"] = round(shared / (NEAREST * len(queries)), 4)
    flat[f"{name}_recall_at_4"] = 1.0
    index.close()
    print(name, index.stats(), file=sys.stderr, flush=True)


def _many_scopes(
    vectors: Floats, queries: Floats, some: NDArray[np.int64], figures: dict[str, float]
) -> None:
    before = _resident_bytes()
    index = Index(DIM)
    scopes = [(at // SCOPE_ROWS).to_bytes(32, "big") for at in some.tolist()]
    begun = time.perf_counter()
    for at, vector in enumerate(vectors):
        index.add(at, (at // SCOPE_ROWS).to_bytes(32, "big"), vector)
    figures["scopes_add_us"] = round((time.perf_counter() - begun) / len(vectors) * 1e6, 1)
    figures["scopes_memory_mb"] = round((_resident_bytes() - before) / 1e6, 1)
    where = iter(scopes)
    found = _timed(
        "scopes",
        lambda query: [id_ for id_, _ in index.search(next(where), query, NEAREST)],
        queries,
        figures,
        warm_up=False,
    )
    right = 0
    for at, query, ids in zip(some.tolist(), queries, found, strict=True):
        first = at // SCOPE_ROWS * SCOPE_ROWS
        own = vectors[first : first + SCOPE_ROWS]
        right += len(set(ids) & {first + int(best) for best in np.argsort(-(own @ query))[:NEAREST]})
    figures["scopes_recall_at_4"] = round(right / (NEAREST * len(queries)), 4)
    print("scopes", index.stats(), file=sys.stderr, flush=True)


def _timed(
    name: str,
    search: Callable[[Floats], list[int]],
    queries: Iterable[Floats],
    figures: dict[str, float],
    warm_up: bool = True,
) -> list[list[int]]:
    found, wall, busy = [], [], []
    queries = list(queries)
    for query in queries[:20] if warm_up else []:
        search(query)
    for query in queries:
        begun, cpu = time.perf_counter(), time.thread_time()
        found.append(search(query))
        wall.append((time.perf_counter() - begun) * 1e3)
        busy.append((time.thread_time() - cpu) * 1e3)
    figures[f"{name}_p50_ms"] = round(float(np.percentile(wall, 50)), 3)
    figures[f"{name}_p99_ms"] = round(float(np.percentile(wall, 99)), 3)
    figures[f"{name}_cpu_ms"] = round(float(np.median(busy)), 3)
    return found


def _embedded(count: int) -> tuple[Floats, Floats]:
    embedder = BertEmbedder("minilm-l6", ModelStore().path("minilm-l6"))
    pairs = question_pairs(count)

    def vectors(texts: list[str]) -> Floats:
        out = np.empty((len(texts), embedder.dim), np.float32)
        for begin in range(0, len(texts), 64):
            for at, encoding in enumerate(embedder.encode(texts[begin : begin + 64]), begin):
                out[at] = encoding.vector
        return out

    some = np.random.default_rng(0).choice(count, min(QUERIES, count), replace=False)
    asked = np.zeros((count, embedder.dim), np.float32)
    asked[some] = vectors([pairs[at][1] for at in some])
    return vectors([pair[0] for pair in pairs]), asked


def _resident_bytes() -> int:
    # What was freed before must not count as memory that the next index did not need.
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    # The peer may use as many threads as we do.
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(
            sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "OMP_NUM_THREADS": "1"}
        )
    cyclopts.run(bench)
