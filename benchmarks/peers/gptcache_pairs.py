"""GPTCache on labelled pairs: runs in an environment of its own and reads its task from standard input.

One fresh cache a pair, FAISS and SQLite, with the vectors that every system here gets; `search distance` is
its evaluation by default. Input: {"vectors": path of .npy, "pairs": [[row of a, row of b], ...],
"thresholds": [...]}. Output: one JSON object, threshold to list of 0 and 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer one task."""
    import numpy as np
    from gptcache import Cache, Config
    from gptcache.adapter.api import get, put
    from gptcache.manager import CacheBase, VectorBase, get_data_manager
    from gptcache.processor.pre import get_prompt
    from gptcache.similarity_evaluation import SearchDistanceEvaluation

    task = json.load(sys.stdin)
    vectors = np.load(task["vectors"])
    out: dict[str, list[int]] = {str(threshold): [] for threshold in task["thresholds"]}
    with tempfile.TemporaryDirectory() as folder:
        for number, (a, b) in enumerate(task["pairs"]):
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
                # Its distance is squared L2: 0 to 4 on unit vectors.
                similarity_evaluation=SearchDistanceEvaluation(),
                config=config,
            )
            put(str(a), "stored", cache_obj=cache)
            for threshold in task["thresholds"]:
                config.similarity_threshold = threshold
                out[str(threshold)].append(int(get(str(b), cache_obj=cache) is not None))
    print(json.dumps(out))


if __name__ == "__main__":
    main()
