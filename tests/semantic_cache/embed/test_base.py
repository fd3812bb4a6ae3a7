"""What the process that embeds and searches loads, and what the gateway's workers never do."""

from __future__ import annotations

import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_embedding_and_searching_load_no_torch() -> None:
    loaded = modules_after("import semantic_cache.embed.open, semantic_cache.index.index")
    assert {"numpy", "faiss", "tokenizers"} <= loaded
    assert not loaded & {"torch", "transformers", "sentence_transformers"}


def test_the_exact_tier_loads_neither_numpy_nor_faiss() -> None:
    loaded = modules_after("import gateway.app, semantic_cache.assemble")
    assert not loaded & {"numpy", "faiss", "tokenizers", "torch"}
