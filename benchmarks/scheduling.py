"""What scheduling and the prefix cache buy, in ratios: each figure beside the same engine without them.

    forebay bench scheduling [--json] [--rounds N] [--threads N] [--model NAME]

chunks    A 4,000-token prompt joins eight decoding sequences. Inter-token latency (ITL) of the eight while it
          is read, over theirs before; its time to first token (TTFT), over that of one step for all of it.
batching  Mixed lengths, eight places: tokens a second with requests joining as others leave (continuous), in
          batches that wait for their last member (static), and in batches of similar length (grouped).
prefix    TTFT of a 1,000-token prompt of which 90% is in the prefix cache, over that of a new one: cached in
          the pool, and on disk by an engine that has ended.

The engine runs in this process, without HTTP. Modes take turns; medians over rounds are printed.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import cyclopts

from backend_engine.assemble import LoadedModel, build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.warm_up import warm_up
from benchmarks import report
from gateway.models.store import ModelStore

LONG_PROMPT = 4000
DECODING = 8
PLACES = 8
JOBS = 48
PREFIX_PROMPT = 1000
# Ordinary words of the vocabulary: neither special tokens nor rare bytes.
TOKEN_RANGE = (1000, 40_000)

Figures = dict[str, float]


class Bench:
    """One model, and engines of it with different options."""

    def __init__(self, path: str, loaded: LoadedModel) -> None:
        self._path = path
        self._loaded = loaded
        self._chance = random.Random(7)

    def engine(self, **options: object) -> Engine:
        """Return a fresh engine, warmed up as the server does it."""
        settings = {"kv_memory_mb": 768, "prefix_cache": False, **options}
        engine = build_engine(self._loaded, EngineOptions(model=self._path, **settings))  # type: ignore[arg-type]
        warm_up(engine)
        return engine

    def prompt(self, tokens: int) -> list[int]:
        return [self._chance.randrange(*TOKEN_RANGE) for _ in range(tokens)]

    def request(self, prompt: int | Sequence[int], max_tokens: int) -> Request:
        """Return a greedy request that never ends early; `prompt` is its tokens or their number."""
        tokens = self.prompt(prompt) if isinstance(prompt, int) else list(prompt)
        params = SamplingParams(max_tokens=max_tokens, temperature=0, ignore_eos=True)
        return Request("bench", tokens, params, IncrementalDetokenizer(lambda token: b""))

    def long_prompt_joins(self, **options: object) -> Figures:
        """Return the ITL percentiles of decoding sequences before and during a long prompt, and its TTFT."""
        engine = self.engine(**options)
        for _ in range(DECODING):
            engine.add(self.request(64, 2000))
        while engine.scheduler.waiting or any(not r.num_output_tokens for r in engine.scheduler.running):
            engine.step()
        before = [timed(engine.step) for _ in range(80)]
        prompt = self.request(LONG_PROMPT, 4)
        engine.add(prompt)
        during: list[float] = []
        while not prompt.num_output_tokens:
            during.append(timed(engine.step))
        for request in list(engine.scheduler.running):
            engine.abort(request)
        return {
            "itl_p99_before_s": percentile(before, 0.99),
            "itl_p99_during_s": percentile(during, 0.99),
            "itl_p50_before_s": percentile(before, 0.5),
            "itl_p50_during_s": percentile(during, 0.5),
            "ttft_s": sum(during),
            "steps": len(during),
        }

    def jobs(self) -> list[tuple[list[int], int]]:
        """Return prompts and output lengths: many short, few long, as chat traffic has them."""
        return [
            (
                self.prompt(self._chance.randrange(16, 200)),
                min(256, max(4, int(self._chance.lognormvariate(3.7, 0.9)))),
            )
            for _ in range(JOBS)
        ]

    def throughput(self, batches: Sequence[Sequence[tuple[list[int], int]]]) -> float:
        """Return output tokens a second when each batch waits for the one before it."""
        engine = self.engine(max_sequences=PLACES)
        begun = time.perf_counter()
        for batch in batches:
            for prompt, tokens in batch:
                engine.add(self.request(prompt, tokens))
            drain(engine)
        tokens = sum(tokens for batch in batches for _, tokens in batch)
        return tokens / (time.perf_counter() - begun)

    def batching(self) -> Figures:
        """Return the throughput of the three ways to batch the same jobs."""
        jobs = self.jobs()

        def cut(ordered: list[tuple[list[int], int]]) -> list[list[tuple[list[int], int]]]:
            return [ordered[at : at + PLACES] for at in range(0, len(ordered), PLACES)]

        return {
            "continuous": self.throughput([jobs]),
            "static": self.throughput(cut(jobs)),
            # By a length that no scheduler knows beforehand: the best that grouping could do.
            "grouped": self.throughput(cut(sorted(jobs, key=lambda job: job[1]))),
        }

    def prefix(self) -> Figures:
        """Return the TTFT of a cold prompt and of one whose first 90% is cached."""
        options: dict[str, object] = {"prefix_cache": True, "max_batch_tokens": 2048}
        engine = self.engine(**options)
        shared = self.prompt(PREFIX_PROMPT * 9 // 10)
        cold = self.ttft(engine, shared + self.prompt(PREFIX_PROMPT // 10))
        cached = self.ttft(engine, shared + self.prompt(PREFIX_PROMPT // 10))
        with tempfile.TemporaryDirectory() as directory:
            first = self.engine(prefix_cache_disk=directory, **options)
            self.ttft(first, shared)
            first.close()
            second = self.engine(prefix_cache_disk=directory, **options)
            restored = self.ttft(second, shared + self.prompt(PREFIX_PROMPT // 10))
            second.close()
        return {"cold_s": cold, "cached_s": cached, "restored_s": restored}

    def ttft(self, engine: Engine, prompt: list[int]) -> float:
        """Return the seconds to the first token of `prompt` on an idle engine."""
        request = self.request(prompt, 1)
        begun = time.perf_counter()
        engine.add(request)
        drain(engine)
        return time.perf_counter() - begun


def drain(engine: Engine) -> None:
    """Step until nothing is left."""
    while engine.has_work:
        engine.step()


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that `action` takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure over the runs."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def chunk_figures(mode: Figures, whole: Figures) -> Figures:
    """Return one mode's ratios; `whole` is the prompt in one step."""
    return {
        "others_itl_p99_ratio": round(mode["itl_p99_during_s"] / mode["itl_p99_before_s"], 2),
        "others_itl_p50_ratio": round(mode["itl_p50_during_s"] / mode["itl_p50_before_s"], 2),
        "own_ttft_ratio": round(mode["ttft_s"] / whole["ttft_s"], 2),
        "steps": mode["steps"],
    }


def bench(
    *,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
    rounds: int = 3,
    threads: int = 2,
    model: str = "smollm2-135m-instruct",
) -> None:
    """Compare the scheduler with itself, one idea at a time switched off.

    Parameters
    ----------
    json_: print one JSON object as the last line.
    rounds: times that every mode is run; medians are printed.
    threads: threads for the model.
    model: name or path of a GGUF model.
    """
    machine = report.machine()
    path = str(ModelStore().path(model))
    subject = Bench(path, load_model(path, "auto", threads=threads))
    modes: dict[str, dict[str, object]] = {
        "adaptive": {},
        "fixed-512": {"max_decode_stretch": math.inf},
        "one-step": {"max_decode_stretch": math.inf, "max_batch_tokens": 2 * LONG_PROMPT},
    }
    chunks: dict[str, list[Figures]] = {name: [] for name in modes}
    batching: list[Figures] = []
    prefix: list[Figures] = []
    for round_ in range(rounds):
        print(f"round {round_ + 1}/{rounds}", file=sys.stderr, flush=True)
        for name, options in modes.items():
            chunks[name].append(subject.long_prompt_joins(**options))
        batching.append(subject.batching())
        prefix.append(subject.prefix())
    whole = medians(chunks["one-step"])
    speeds, ttfts = medians(batching), medians(prefix)
    by_mode = {name: chunk_figures(medians(runs), whole) for name, runs in chunks.items()}
    figures = {
        **by_mode.pop("adaptive"),
        "tokens_per_s": round(speeds["continuous"], 1),
        "ttft_cached_over_cold": round(ttfts["cached_s"] / ttfts["cold_s"], 3),
        "ttft_restored_over_cold": round(ttfts["restored_s"] / ttfts["cold_s"], 3),
    }
    peers: dict[str, Figures] = {
        **by_mode,
        "static": {"tokens_per_s": round(speeds["static"], 1)},
        "grouped": {"tokens_per_s": round(speeds["grouped"], 1)},
        "no-prefix-cache": {"ttft_cached_over_cold": 1.0, "ttft_restored_over_cold": 1.0},
    }
    ratios = report.ratios(figures, peers, higher_is_better={"tokens_per_s"})
    report.publish("scheduling", machine, figures, peers, ratios, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
