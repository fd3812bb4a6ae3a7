"""What speculation gains: the same prompts with and without, at concurrency 1 and 8.

    forebay bench speculation [--prompts N] [--drafters suffix --drafters ngram …] [--json]

Greedy answers from the engine's loop, without HTTP, a new prompt whenever one is answered. An engine for each
drafter and one without take turns step by step, so that a busy machine slows all alike. Steps with tokens
of prompts are left out, being the same for all, and stretches of steps in which the machine stalled.
All prompts of a workload come from one tenant, as an application's would. The answers must be equal: a run in
which speculation changed a text fails. The acceptance length is 1 + accepted tokens / drafts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, cast

import cyclopts

from backend_engine.assemble import build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.spec.speculator import SpeculationStats
from benchmarks import report
from benchmarks._speculation_prompts import WORKLOADS, natural_prompts
from gateway.models.store import ModelStore

CONCURRENCIES = (1, 8)
STRETCH = 16
"""Steps whose time is taken together."""


class Side:
    """One engine that answers `prompts`, `at_once` at a time."""

    def __init__(
        self, engine: Engine, requests: list[Request], at_once: int, clock: Callable[[], float]
    ) -> None:
        self.engine = engine
        self.requests = requests
        self._waiting = list(reversed(requests))
        self._at_once = at_once
        self._clock = clock
        self._stretches: list[tuple[int, float]] = []
        self._tokens, self._seconds, self._steps = 0, 0.0, 0
        self._all_tokens = 0

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
        started = self._clock()
        outputs = self.engine.step()
        if not counts:
            return
        self._seconds += self._clock() - started
        self._tokens += len(outputs)
        self._all_tokens += len(outputs)
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

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a step brought a sequence, drafted for or not."""
        return self._all_tokens / max(1, self._steps) / self._at_once


def run(sides: Sequence[Side]) -> None:
    """Let all sides answer everything; raises SystemExit if an answer differs."""
    while any(side.busy for side in sides):
        for side in sides:
            if side.busy:
                side.step()
    for plain, *others in zip(*(side.requests for side in sides), strict=True):
        if any(other.output_ids != plain.output_ids for other in others):
            raise SystemExit("speculation changed an answer")


def options_of(kind: str, path: str) -> EngineOptions:
    """Return the options of the engine named `kind`."""
    if kind in ("off", "auto", "ngram", "suffix"):
        return EngineOptions(model=path, speculation=cast(Literal["off", "auto", "ngram", "suffix"], kind))
    return EngineOptions(model=path, speculation="draft", draft_model=kind)


def shares_by_position(stats: SpeculationStats) -> list[float]:
    """Return for each place of a draft the share of drafts that were accepted so far."""
    counts = [count for count in stats.num_accepted_tokens_per_pos if count]
    return [round(count / max(1, stats.num_drafts), 2) for count in counts]


def bench(
    *,
    prompts: int = 56,
    tokens: int = 128,
    seed: int = 0,
    drafters: tuple[str, ...] = ("auto", "suffix", "ngram"),
    workloads: tuple[str, ...] = tuple(WORKLOADS),
    at_once: tuple[int, ...] = CONCURRENCIES,
    cpu_time: bool = False,
    model: str = "smollm2-135m-instruct",
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Compare the engine with and without speculation.

    Parameters
    ----------
    prompts: prompts of each workload.
    tokens: longest answer.
    seed: which prompts.
    drafters: auto (suffix and a draft head), suffix, ngram, or the path of a draft model or head; the first
        gives the figures, the others are peers.
    workloads: which kinds of prompts.
    at_once: numbers of requests that run together.
    cpu_time: run in one thread and measure its CPU time, for a machine that others use.
    model: name or path of the model.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    path = str(ModelStore().path(model))
    loaded = load_model(path, EngineOptions(model=path).quantization, threads=int(cpu_time))
    assert loaded.chat_template is not None
    params = SamplingParams(max_tokens=tokens, temperature=0)
    kinds = ("off", *drafters)
    found: dict[str, report.Figures] = {kind: {} for kind in kinds}
    for workload in workloads:
        texts = natural_prompts(workload, prompts, seed)
        rendered = [loaded.chat_template.render([{"role": "user", "content": text}]) for text in texts]
        ids = [loaded.tokenizer.encode(text) for text in rendered]
        for together in at_once:
            sides = {
                kind: Side(
                    build_engine(loaded, options_of(kind, path)),
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
                    together,
                    time.thread_time if cpu_time else time.perf_counter,
                )
                for kind in kinds
            }
            run(list(sides.values()))
            name, plain = f"{workload}, {together} at once", sides["off"].tokens_per_s
            print(f"{name}: off {plain:.0f} tokens/s", flush=True)
            for kind, side in sides.items():
                stats, speed = side.engine.stats().speculation, side.tokens_per_s
                length = 1 + stats.num_accepted_tokens / max(1, stats.num_drafts)
                found[kind][f"{name}: tokens/s"] = round(speed, 1)
                found[kind][f"{name}: acceptance length"] = round(length, 2)
                found[kind][f"{name}: tokens a step"] = round(side.tokens_per_step, 2)
                if kind != "off":
                    gain, per_step = speed / plain, side.tokens_per_step
                    print(
                        f"  {kind}: {gain:.2f}x, {per_step:.2f} tokens a step, {length:.2f} a draft",
                        flush=True,
                    )
                    print(f"    accepted by position: {shares_by_position(stats)}", flush=True)
    figures = found.pop(drafters[0])
    ratios = {
        peer: {
            name: round(figures[name] / value, 3)
            for name, value in values.items()
            if name.endswith("tokens/s")
        }
        for peer, values in found.items()
    }
    report.publish("speculation", machine, figures, found, ratios, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
