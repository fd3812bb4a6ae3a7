"""What speculation gains: the same prompts with and without, at concurrency 1 and 8.

    forebay bench speculation [--prompts N] [--speculation ngram|suffix] [--json]

Greedy answers from the engine's loop, without HTTP. One engine drafts and one does not, and each group of
prompts goes through both in turn, so that a busy machine slows both alike; only steps after prompts count.
The gain is the median over groups, which a stall on one side does not move. All prompts of a workload come
from one tenant, as an application's would. The answers must be equal: a run in which speculation changed a
text fails. The acceptance length is 1 + accepted tokens / drafts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import cyclopts

from backend_engine.assemble import build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from benchmarks import report
from benchmarks._speculation_prompts import WORKLOADS, natural_prompts
from gateway.models.store import ModelStore

CONCURRENCIES = (1, 8)


@dataclass(slots=True)
class Side:
    """One engine and what it did for one workload: seconds of decoding and tokens that they gave."""

    engine: Engine
    token_bytes: Callable[[int], bytes]
    seconds: float = 0.0
    tokens: int = 0
    speeds: list[float] = field(default_factory=list)
    """Tokens a second of each group of prompts."""

    def answer(self, prompts: Sequence[list[int]], params: SamplingParams, tenant: str) -> list[list[int]]:
        """Answer `prompts` side by side; what is counted begins when each has its first token."""
        requests = [
            Request("bench", list(prompt), params, IncrementalDetokenizer(self.token_bytes), salt=tenant)
            for prompt in prompts
        ]
        for request in requests:
            self.engine.add(request)
        while not all(request.num_output_tokens for request in requests):
            self.engine.step()
        before = sum(request.num_output_tokens for request in requests)
        started = time.perf_counter()
        while self.engine.has_work:
            self.engine.step()
        seconds = time.perf_counter() - started
        tokens = sum(request.num_output_tokens for request in requests) - before
        self.seconds += seconds
        self.tokens += tokens
        # A group that was over with its first tokens says nothing.
        self.speeds.append(tokens / seconds if tokens else 1.0)
        return [request.output_ids for request in requests]

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


def compare(
    plain: Side, drafting: Side, prompts: list[list[int]], params: SamplingParams, tenant: str, at_once: int
) -> None:
    """Answer all prompts on both sides; raises SystemExit if an answer differs."""
    for start in range(0, len(prompts), at_once):
        group = prompts[start : start + at_once]
        sides = (plain, drafting) if start // at_once % 2 else (drafting, plain)
        first, second = (side.answer(group, params, tenant) for side in sides)
        if first != second:
            raise SystemExit(f"{tenant}: speculation changed an answer at concurrency {at_once}")


def bench(
    *,
    prompts: int = 56,
    tokens: int = 128,
    seed: int = 0,
    speculation: Literal["ngram", "suffix"] = "suffix",
    model: str = "smollm2-135m-instruct",
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Compare the engine with and without speculation.

    Parameters
    ----------
    prompts: prompts of each workload.
    tokens: longest answer.
    seed: which prompts.
    speculation: the drafter to measure.
    model: name or path of the model.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    path = str(ModelStore().path(model))
    loaded = load_model(path, EngineOptions(model=path).quantization)
    assert loaded.chat_template is not None
    params = SamplingParams(max_tokens=tokens, temperature=0)
    figures: report.Figures = {}
    off: report.Figures = {}
    ratios: report.Figures = {}
    for workload in WORKLOADS:
        texts = natural_prompts(workload, prompts, seed)
        rendered = [loaded.chat_template.render([{"role": "user", "content": text}]) for text in texts]
        ids = [loaded.tokenizer.encode(text) for text in rendered]
        for at_once in CONCURRENCIES:
            plain, drafting = (
                Side(
                    build_engine(loaded, EngineOptions(model=path, speculation=kind)),
                    loaded.tokenizer.token_bytes,
                )
                for kind in ("off", speculation)
            )
            compare(plain, drafting, ids, params, workload, at_once)
            stats, name = drafting.engine.stats().speculation, f"{workload}, {at_once} at once"
            figures[f"{name}: tokens/s"] = round(drafting.tokens_per_s, 1)
            off[f"{name}: tokens/s"] = round(plain.tokens_per_s, 1)
            figures[f"{name}: acceptance length"] = round(
                1 + stats.num_accepted_tokens / max(1, stats.num_drafts), 2
            )
            off[f"{name}: acceptance length"] = 1.0
            gains = [a / b for a, b in zip(drafting.speeds, plain.speeds, strict=True)]
            ratios[f"{name}: gain"] = round(statistics.median(gains), 3)
            speeds = f"{drafting.tokens_per_s:.0f} tokens/s with, {plain.tokens_per_s:.0f} without"
            print(f"{name}: {statistics.median(gains):.2f}x, {speeds}, {stats}", flush=True)
    peers = {"off": off}
    report.publish("speculation", machine, figures, peers, {"off": ratios}, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
