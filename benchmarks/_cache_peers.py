"""GPTCache and RedisVL in throw-away environments, on our vectors: what each takes for a hit."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import environments
from benchmarks.peers import gptcache_pairs, redisvl_pairs

TIME_S = 1800.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether each pair was a hit, by the name of a system; how that was found out; and what could not be."""

    accepted: dict[str, list[bool]] = field(default_factory=dict)
    note: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that runs in an environment of its own; `thresholds` are its default and a strict one."""

    name: str
    requirements: Sequence[str]
    program: str
    thresholds: Sequence[float]
    settings: Mapping[str, str] = field(default_factory=dict)

    def install(self) -> Path:
        """Return its Python. Raises PeerUnavailable: a comparison without it is a failed run."""
        return environments.python_with(self.requirements)

    def run(self, vectors: NDArray[np.float32], pairs: Sequence[tuple[int, int]], sample: int) -> Answer:
        """Ask it about pairs of rows of `vectors`, with its whole stack about `sample` of them."""
        python = self.install()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vectors.npy"
            np.save(path, vectors)
            task = {
                "vectors": str(path),
                "pairs": [list(pair) for pair in pairs],
                "thresholds": list(self.thresholds),
                "sample": sample,
                **self.settings,
            }
            # The program's folder would shadow the peer's own modules, and ours must not be on its path.
            env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            result = subprocess.run(
                [str(python), "-I", self.program],
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
            return Answer(error=lines[-1][:300] if lines else f"exit status {result.returncode}")
        found = json.loads(result.stdout.splitlines()[-1])
        accepted = {name: [bool(took) for took in hits] for name, hits in found["accepted"].items()}
        return Answer(accepted, found["note"], found.get("error", ""))


PEERS = (
    Peer(
        "gptcache",
        ["gptcache==0.1.44", "faiss-cpu", "numpy<2", "sqlalchemy", "cachetools", "setuptools"],
        gptcache_pairs.__file__,
        [0.8, 0.95],
    ),
    Peer(
        "redisvl",
        ["redisvl==0.28.0"],
        redisvl_pairs.__file__,
        [0.1, 0.05],
        # It needs a Redis with the query engine.
        {"redis": os.environ.get("REDISVL_URL", "redis://127.0.0.1:6379")},
    ),
)
