"""The engine beside llama.cpp (Q4_0 of the same weights) and transformers: prefill, decode at batch 1, 8, 32.

    forebay bench engine [--json] [--rounds N] [--threads N] [--model NAME]

Every system gets the same random prompts (128 tokens in, 128 out, end of text ignored), its own process
and environment, and the machine to itself; systems take turns, and the median over rounds is printed.
Speeds are tokens a second: prefill counts prompt tokens of one sequence, decode all sequences' tokens
after the first. No quality figure goes with them: llama.cpp's row has 4-bit weights, ours 8-bit.
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
from typing import Annotated, Any

import cyclopts

from benchmarks import environments, report
from gateway.models.store import ModelStore

BATCHES = (1, 8, 32)
PROMPT_TOKENS = 128
NEW_TOKENS = 128
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

    def run(self, job: dict[str, Any]) -> list[dict[str, float]]:
        """Run the job in a fresh process; returns each case's timings."""
        # -P: the script's own folder must not stand before the peer's package in the import path.
        command = [str(self.python), "-P", str(PEERS / self.script)]
        if self.script == "forebay_engine.py":
            command = [str(self.python), "-m", "benchmarks.peers.forebay_engine"]
        result = subprocess.run(
            command, input=json.dumps({**job, **self.settings}), capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SystemExit(f"{self.name} failed:\n{result.stderr[-2000:]}")
        timings: list[dict[str, float]] = json.loads(result.stdout)
        return timings


def systems() -> list[System]:
    """Return all systems, installing peers first."""
    here = Path(sys.executable)
    llama = environments.python_with(["llama-cpp-python==0.3.36"], env={"CMAKE_ARGS": "-DGGML_NATIVE=ON"})
    hugging_face = environments.python_with(
        ["torch==2.13.0", "transformers==5.23.0", "gguf==0.19.0", "accelerate==1.15.0"]
    )
    return [
        System("forebay", "forebay_engine.py", here, {}),
        System("forebay-fp32", "forebay_engine.py", here, {"quantization": "none"}),
        System("llama.cpp-q4_0", "llama_cpp.py", llama, {}),
        System("transformers-fp32", "transformers_hf.py", hugging_face, {}),
    ]


def figures(cases: list[dict[str, Any]], rounds: list[list[dict[str, float]]]) -> dict[str, float]:
    """Turn the timings of all rounds into median speeds."""
    out: dict[str, float] = {}
    for at, case in enumerate(cases):
        batch = len(case["prompts"])
        decoded = batch * (case["new_tokens"] - 1)
        if batch == 1:
            seconds = statistics.median(timings[at]["prefill_s"] for timings in rounds)
            out["prefill_tokens_per_s"] = round(PROMPT_TOKENS / seconds, 1)
        seconds = statistics.median(timings[at]["decode_s"] for timings in rounds)
        out[f"decode_tokens_per_s_batch_{batch}"] = round(decoded / seconds, 1)
    return out


def bench(
    *,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
    rounds: int = 3,
    threads: int = 2,
    model: str = "smollm2-135m-instruct",
) -> None:
    """Compare engines on this machine.

    Parameters
    ----------
    json_: print one JSON object as the last line.
    rounds: times that every system is run; medians are printed.
    threads: threads that every system may use.
    model: name or path of a GGUF model.
    """
    machine = report.machine()
    chance = random.Random(7)
    cases = [
        {
            "prompts": [[chance.randrange(*TOKEN_RANGE) for _ in range(PROMPT_TOKENS)] for _ in range(batch)],
            "new_tokens": NEW_TOKENS,
        }
        for batch in BATCHES
    ]
    contenders = systems()
    timings: dict[str, list[list[dict[str, float]]]] = {system.name: [] for system in contenders}
    with tempfile.TemporaryDirectory() as work:
        job = {"model": str(ModelStore().path(model)), "threads": threads, "cases": cases, "work": work}
        for round_ in range(rounds):
            for system in contenders:
                print(f"round {round_ + 1}/{rounds}: {system.name}", file=sys.stderr, flush=True)
                timings[system.name].append(system.run(job))
    speeds = {name: figures(cases, runs) for name, runs in timings.items()}
    ours = speeds.pop("forebay")
    ratios = report.ratios(ours, speeds, higher_is_better=set(ours))
    report.publish("engine", machine, ours, speeds, ratios, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
