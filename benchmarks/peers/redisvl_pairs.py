"""RedisVL's SemanticCache on labelled pairs: runs in an environment of its own, against a Redis with vector
search.

Input as for `gptcache_pairs`, and "redis", a URL; thresholds are cosine distances. One namespace a pair.
Without a Redis that has the query engine its error goes to standard error and the exit status is 1.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Answer one task."""
    import numpy as np
    from redisvl.extensions.cache.llm import SemanticCache
    from redisvl.utils.vectorize import CustomTextVectorizer

    task = json.load(sys.stdin)
    vectors = np.load(task["vectors"]).astype(np.float32)

    def embed(text: str, **_: Any) -> list[float]:
        # It asks for the vector of a text of its own first, to learn the dimension.
        return [float(x) for x in vectors[int(text) if text.isdigit() else 0]]

    vectorizer = CustomTextVectorizer(embed=embed)
    out: dict[str, list[int]] = {}
    for threshold in task["thresholds"]:
        cache: Any = SemanticCache(
            name="forebay-bench",
            redis_url=task["redis"],
            distance_threshold=threshold,
            vectorizer=vectorizer,
            overwrite=True,
        )
        took = []
        for a, b in task["pairs"]:
            cache.clear()
            cache.store(prompt=str(a), response="stored")
            took.append(int(bool(cache.check(prompt=str(b)))))
        out[str(threshold)] = took
        cache.delete()
    print(json.dumps(out))


if __name__ == "__main__":
    main()
