"""RedisVL's SemanticCache on labelled pairs: runs in an environment of its own.

It needs a Redis with the query engine. With one, `sample` pairs go through it, each in a cleared cache.
Without one its error is told. Either way its rule decides every pair: a hit is the nearest stored question
within its distance threshold, and distance is 1 - cosine. That is done here in numpy; the default threshold
is read off its class.

Input as for `gptcache_pairs`, and "redis", a URL; thresholds are cosine distances. Output: "accepted" (name
to list of 0 and 1), "note" and, if it could not run, "error".
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from typing import Any


def main() -> None:
    """Answer one task."""
    import numpy as np
    from redisvl.extensions.cache.llm import SemanticCache

    task = json.load(sys.stdin)
    vectors = np.load(task["vectors"]).astype(np.float32)
    pairs, thresholds = task["pairs"], task["thresholds"]
    default = inspect.signature(SemanticCache).parameters["distance_threshold"].default
    if default not in thresholds:
        raise SystemExit(f"its default distance threshold is {default}")
    distances = [1 - float(vectors[a] @ vectors[b]) for a, b in pairs]
    accepted = {f"redisvl-rule-{t}": [int(distance <= t) for distance in distances] for t in thresholds}
    said: dict[str, Any] = {"accepted": accepted, "note": "its rule alone, without its server"}
    places = list(range(0, len(pairs), max(1, -(-len(pairs) // task["sample"]))))
    try:
        whole = by_its_server(vectors, [pairs[place] for place in places], thresholds, task["redis"])
    except Exception as error:
        said["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    else:
        same = all(
            hits == [accepted[f"redisvl-rule-{t}"][place] for place in places] for t, hits in whole.items()
        )
        said["note"] = (
            f"its rule; its server on {len(places)} pairs decided {'the same' if same else 'otherwise'}"
        )
    print(json.dumps(said))


def by_its_server(
    vectors: Any, pairs: Sequence[Sequence[int]], thresholds: Sequence[float], url: str
) -> dict[float, list[int]]:
    """Return what the cache gives for each pair. Raises what RedisVL raises."""
    from redisvl.extensions.cache.llm import SemanticCache
    from redisvl.utils.vectorize import CustomTextVectorizer

    def embed(text: str, **_: Any) -> list[float]:
        # It asks for the vector of a text of its own first, to learn the dimension.
        return [float(x) for x in vectors[int(text) if text.isdigit() else 0]]

    vectorizer = CustomTextVectorizer(embed=embed)
    out: dict[float, list[int]] = {}
    for threshold in thresholds:
        cache: Any = SemanticCache(
            name="forebay-bench",
            redis_url=url,
            distance_threshold=threshold,
            vectorizer=vectorizer,
            overwrite=True,
        )
        took = []
        for a, b in pairs:
            cache.clear()
            cache.store(prompt=str(a), response="stored")
            took.append(int(bool(cache.check(prompt=str(b)))))
        out[threshold] = took
        cache.delete()
    return out


if __name__ == "__main__":
    main()
