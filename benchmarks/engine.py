"""The engine beside llama.cpp (Q4_0 of the same weights), CTranslate2 (int8) and transformers.

    forebay bench engine [--json] [--rounds N] [--threads N] [--model NAME] [--part all|engine|http]

engine  Every system gets the same random prompts (128 tokens in and 128 out at batch 1, 8 and 32; 1,024 in
        and 256 out at batch 1 and 8; end of text ignored), its own process and environment, and the machine
        to itself; systems take turns, and the median over rounds is printed. Speeds are tokens a second:
        prefill counts the prompt's tokens at batch 1, decode all sequences' tokens after the first.
        Perplexity is over windows of this repository's own documentation. Limits: what a decode step at
        batch 1 must read of the model file, as a share of the memory bandwidth measured in this run, and the
        operations of the linears in prefill.
http    The servers, each with streams for 1, 8 and 32 callers at a time (see `_engine_http`): ours,
        llama.cpp's, and as the simple baseline ours with one place.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts

from backend_engine.loading.checkpoint import load_checkpoint
from benchmarks import _engine_http, environments, report
from gateway.models.store import ModelStore

SHAPES = ((128, 128, 1), (128, 128, 8), (128, 128, 32), (1024, 256, 1), (1024, 256, 8))
"""Tokens in, tokens out, batch."""
WINDOW, WINDOWS = 256, 8
DOCS = Path(__file__).parents[1] / "docs"
PEERS = Path(__file__).parent / "peers"
# Ordinary words of the vocabulary: neither special tokens nor rare bytes.
TOKEN_RANGE = (1000, 40_000)


@dataclass(frozen=True, slots=True)
class System:
    """A system under comparison: the script that drives it, the Python that runs it, its own settings."""

    name: str
    script: str
    python: Path
    settings: dict[str, Any]

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run the job in a fresh process; returns each case's `timings` and the `perplexity`."""
        # -P: the script's own folder must not stand before the peer's package in the import path.
        command = [str(self.python), "-P", str(PEERS / self.script)]
        if self.script == "forebay_engine.py":
            command = [str(self.python), "-m", "benchmarks.peers.forebay_engine"]
        result = subprocess.run(
            command, input=json.dumps({**job, **self.settings}), capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SystemExit(f"{self.name} failed:\n{result.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(result.stdout)
        return found


def systems() -> list[System]:
    """Return all systems, installing peers first."""
    here = Path(sys.executable)
    llama = environments.python_with(["llama-cpp-python==0.3.36"], env={"CMAKE_ARGS": "-DGGML_NATIVE=ON"})
    hugging_face = environments.python_with(
        ["torch==2.13.0", "transformers==5.23.0", "gguf==0.19.0", "accelerate==1.15.0"]
    )
    ctranslate2 = environments.python_with(
        [
            "ctranslate2==4.8.5",
            "torch==2.13.0",
            "transformers==4.57.1",
            "gguf==0.19.0",
            "accelerate==1.15.0",
        ]
    )
    return [
        System("forebay", "forebay_engine.py", here, {"quantization": "auto", "kv_dtype": "fp16"}),
        System("forebay-kv8", "forebay_engine.py", here, {"quantization": "auto", "kv_dtype": "int8"}),
        System("forebay-int8", "forebay_engine.py", here, {"quantization": "int8", "kv_dtype": "fp16"}),
        System("llama.cpp-q4_0", "llama_cpp.py", llama, {}),
        System("ctranslate2-int8", "ctranslate2_int8.py", ctranslate2, {}),
        System("transformers-fp32", "transformers_hf.py", hugging_face, {}),
    ]


def figures(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Turn what all rounds found into median speeds."""
    out: dict[str, float] = {}
    for at, (tokens_in, tokens_out, batch) in enumerate(SHAPES):

        def median(phase: str, at: int = at) -> float:
            return statistics.median(float(found["timings"][at][phase]) for found in rounds)

        shape = f"{tokens_in}_{tokens_out}"
        if batch == 1:
            out[f"prefill_{shape}_tokens_per_s"] = round(tokens_in / median("prefill_s"), 1)
        out[f"decode_{shape}_batch_{batch}_tokens_per_s"] = round(
            batch * (tokens_out - 1) / median("decode_s"), 1
        )
    out["perplexity"] = round(rounds[0]["perplexity"], 3)
    return out


def limits(ours: dict[str, float], model: Path, parameters: int) -> dict[str, float]:
    """Return our share of what this machine can do at most, where a limit is known."""
    bandwidth = report.read_bandwidth_gb_per_s()
    decode = ours["decode_128_128_batch_1_tokens_per_s"] * model.stat().st_size / 1e9
    return {
        "read_bandwidth_gb_per_s": round(bandwidth, 1),
        "decode_batch_1_gb_per_s": round(decode, 1),
        "decode_batch_1_share_of_bandwidth": round(decode / bandwidth, 3),
        "prefill_gop_per_s": round(ours["prefill_128_128_tokens_per_s"] * 2 * parameters / 1e9, 1),
    }


def bench(
    *,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
    rounds: int = 3,
    threads: int = 2,
    model: str = "smollm2-135m-instruct",
    part: Literal["all", "engine", "http"] = "all",
) -> None:
    """Compare engines on this machine.

    Parameters
    ----------
    json_: print one JSON object as the last line.
    rounds: times that every system is run; medians are printed.
    threads: threads that every system may use.
    model: name or path of a GGUF model.
    part: the engines in process, the servers over HTTP, or both.
    """
    machine = report.machine()
    path = ModelStore().path(model)
    speeds: dict[str, dict[str, float]] = {}
    if part != "http":
        speeds |= _engines(path, rounds, threads)
    if part != "engine":
        with tempfile.TemporaryDirectory() as work:
            for name, found in _engine_http.measure(path, threads, Path(work)).items():
                speeds[name] = speeds.get(name, {}) | found
    ours = speeds.pop("forebay")
    speed_names = {name for name in ours if name.endswith("tokens_per_s")}
    ratios = report.ratios(ours, speeds, higher_is_better=speed_names)
    if part != "http":
        ours |= limits(ours, path, load_checkpoint(path).config.num_body_weights)
    report.publish("engine", machine, ours, speeds, ratios, as_json=json_)


def _engines(path: Path, rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Return the figures of every engine by its name."""
    chance = random.Random(7)
    cases = [
        {
            "prompts": [[chance.randrange(*TOKEN_RANGE) for _ in range(tokens_in)] for _ in range(batch)],
            "new_tokens": tokens_out,
        }
        for tokens_in, tokens_out, batch in SHAPES
    ]
    checkpoint = load_checkpoint(path)
    text = "\n\n".join(page.read_text() for page in sorted(DOCS.glob("*.md")))
    ids = checkpoint.tokenizer.encode(text)
    if len(ids) < WINDOW * WINDOWS:
        raise SystemExit(f"there is too little text in {DOCS}: run this from a checkout")
    windows = [ids[at * WINDOW : (at + 1) * WINDOW] for at in range(WINDOWS)]
    contenders = systems()
    found: dict[str, list[dict[str, Any]]] = {system.name: [] for system in contenders}
    with tempfile.TemporaryDirectory() as work:
        job = {"model": str(path), "threads": threads, "cases": cases, "windows": windows, "work": work}
        for round_ in range(rounds):
            for system in contenders:
                print(f"round {round_ + 1}/{rounds}: {system.name}", file=sys.stderr, flush=True)
                found[system.name].append(system.run(job))
                print(figures(found[system.name]), file=sys.stderr, flush=True)
    return {name: figures(runs) for name, runs in found.items()}


if __name__ == "__main__":
    cyclopts.run(bench)
