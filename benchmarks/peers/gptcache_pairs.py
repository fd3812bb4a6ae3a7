"""GPTCache on labelled pairs: runs in an environment of its own and reads its task from standard input.

A fresh cache for every pair takes it some 45 ms of CPU, since it makes a database and its tables each time.
So that is done for a sample. Every pair goes through its own FAISS store and its own evaluation (`search
distance`, its default), by the rule of its adapter; on the sample both must decide the same.

Input: {"vectors": path of .npy, "pairs": [[row of a, row of b], …], "thresholds": […], "sample": number}.
Output: one JSON object: "accepted" (name to list of 0 and 1) and "note".
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer one task."""
    import numpy as np

    task = json.load(sys.stdin)
    vectors = np.load(task["vectors"])
    pairs, thresholds = task["pairs"], task["thresholds"]
    accepted = by_its_rule(vectors, pairs, thresholds)
    places = list(range(0, len(pairs), max(1, -(-len(pairs) // task["sample"]))))
    whole = by_its_stack(vectors, [pairs[place] for place in places], thresholds)
    for name, hits in whole.items():
        if hits != [accepted[name][place] for place in places]:
            raise SystemExit(f"its stack and its evaluation alone do not decide the same at {name}")
    note = (
        f"its FAISS store and evaluation on all {len(pairs)} pairs; its whole stack, with SQLite, on "
        f"{len(places)} of them decided the same"
    )
    print(json.dumps({"accepted": accepted, "note": note}))


def by_its_rule(
    vectors: Any, pairs: Sequence[Sequence[int]], thresholds: Sequence[float]
) -> dict[str, list[int]]:
    """Return what its vector store and its evaluation make of each pair."""
    from gptcache.manager.vector_data.base import VectorData
    from gptcache.manager.vector_data.faiss import Faiss
    from gptcache.similarity_evaluation import SearchDistanceEvaluation

    # Its distance is squared L2: 0 to 4 on unit vectors.
    evaluation = SearchDistanceEvaluation()
    least, most = evaluation.range()
    out: dict[str, list[int]] = {f"gptcache-{threshold}": [] for threshold in thresholds}
    store = Faiss("", vectors.shape[1], 1)
    for a, b in pairs:
        store.mul_add([VectorData(id=1, data=vectors[a])])
        found = store.search(vectors[b])
        store.delete([1])
        rank = evaluation.evaluation({}, {"search_result": found[0]})
        for threshold in thresholds:
            out[f"gptcache-{threshold}"].append(
                int(rank >= min(max((most - least) * threshold, least), most))
            )
    return out


def by_its_stack(
    vectors: Any, pairs: Sequence[Sequence[int]], thresholds: Sequence[float]
) -> dict[str, list[int]]:
    """Return what a fresh cache, FAISS and SQLite, gives for each pair."""
    from gptcache import Cache, Config
    from gptcache.adapter.api import get, put
    from gptcache.manager import CacheBase, VectorBase, get_data_manager
    from gptcache.processor.pre import get_prompt
    from gptcache.similarity_evaluation import SearchDistanceEvaluation

    out: dict[str, list[int]] = {f"gptcache-{threshold}": [] for threshold in thresholds}
    with tempfile.TemporaryDirectory() as folder:
        for number, (a, b) in enumerate(pairs):
            cache: Any = Cache()
            place = Path(folder) / str(number)
            config = Config()
            cache.init(
                pre_embedding_func=get_prompt,
                embedding_func=lambda text, **_: vectors[int(text)],
                data_manager=get_data_manager(
                    CacheBase("sqlite", sql_url=f"sqlite:///{place}.db"),
                    VectorBase("faiss", dimension=vectors.shape[1], index_path=f"{place}.index"),
                ),
                similarity_evaluation=SearchDistanceEvaluation(),
                config=config,
            )
            put(str(a), "stored", cache_obj=cache)
            for threshold in thresholds:
                config.similarity_threshold = threshold
                out[f"gptcache-{threshold}"].append(int(get(str(b), cache_obj=cache) is not None))
    return out


if __name__ == "__main__":
    main()
