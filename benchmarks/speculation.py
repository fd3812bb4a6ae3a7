"""What speculation gains: the same prompts with and without, at concurrency 1 and 8.

    forebay bench speculation [--prompts N] [--speculation ngram|suffix] [--json]

Greedy answers from the engine's loop, without HTTP, a new prompt whenever one is answered. One engine drafts
and one does not, and they take turns step by step, so that a busy machine slows both alike. Steps with tokens
of prompts are left out, being the same on both sides, and stretches of steps in which the machine stalled.
All prompts of a workload come from one tenant, as an application's would. The answers must be equal: a run in
which speculation changed a text fails. The acceptance length is 1 + accepted tokens / drafts.
"""

from __future__ import annotations

import statistics
import time
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
STRETCH = 16
"""Steps whose time is taken together."""


class Side:
    """One engine that answers `prompts`, `at_once` at a time."""

    def __init__(self, engine: Engine, requests: list[Request], at_once: int) -> None:
        self.engine = engine
        self.requests = requests
        self._waiting = list(reversed(requests))
        self._at_once = at_once
        self._stretches: list[tuple[int, float]] = []
        self._tokens, self._seconds, self._steps = 0, 0.0, 0

    @property
    def busy(self) -> bool:
        return bool(self._waiting) or self.engine.has_work

    def step(self) -> None:
        """Keep the engine full and run one step; it counts if no prompt was in it."""
        scheduler = self.engine.scheduler
        while self._waiting and len(scheduler.running) + len(scheduler.waiting) < self._at_once:
            self.engine.add(self._waiting.pop())
        # Towards the end the batch runs dry, and on the two sides at different times.
        counts = len(scheduler.running) == self._at_once and all(
            request.num_output_tokens for request in scheduler.running
        )
        started = time.perf_counter()
        outputs = self.engine.step()
        if not counts:
            return
        self._seconds += time.perf_counter() - started
        self._tokens += len(outputs)
        self._steps += 1
        if self._steps % STRETCH == 0:
            self._stretches.append((self._tokens, self._seconds))
            self._tokens, self._seconds = 0, 0.0

    @property
    def tokens_per_s(self) -> float:
        """Speed over all stretches but those that took three times as long as the usual one."""
        usual = statistics.median(seconds for _, seconds in self._stretches)
        kept = [stretch for stretch in self._stretches if stretch[1] < 3 * usual]
        return sum(tokens for tokens, _ in kept) / sum(seconds for _, seconds in kept)


def run(plain: Side, drafting: Side) -> None:
    """Let both sides answer everything; raises SystemExit if an answer differs."""
    while plain.busy or drafting.busy:
        for side in (plain, drafting):
            if side.busy:
                side.step()
    for one, other in zip(plain.requests, drafting.requests, strict=True):
        if one.output_ids != other.output_ids:
            raise SystemExit("speculation changed an answer")


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
                    [
                        Request(
                            "bench",
                            list(prompt),
                            params,
                            IncrementalDetokenizer(loaded.tokenizer.token_bytes),
                            salt=workload,
                        )
                        for prompt in ids
                    ],
                    at_once,
                )
                for kind in ("off", speculation)
            )
            run(plain, drafting)
            stats, name = drafting.engine.stats().speculation, f"{workload}, {at_once} at once"
            figures[f"{name}: tokens/s"] = round(drafting.tokens_per_s, 1)
            off[f"{name}: tokens/s"] = round(plain.tokens_per_s, 1)
            figures[f"{name}: acceptance length"] = round(
                1 + stats.num_accepted_tokens / max(1, stats.num_drafts), 2
            )
            off[f"{name}: acceptance length"] = 1.0
            gain = drafting.tokens_per_s / plain.tokens_per_s
            ratios[f"{name}: tokens/s"] = round(gain, 3)
            speeds = f"{drafting.tokens_per_s:.0f} tokens/s with, {plain.tokens_per_s:.0f} without"
            print(f"{name}: {gain:.2f}x, {speeds}, {stats}", flush=True)
    peers = {"off": off}
    report.publish("speculation", machine, figures, peers, {"off": ratios}, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
