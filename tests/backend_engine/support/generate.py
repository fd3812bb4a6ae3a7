"""Runs requests through an `Engine` without threads or HTTP."""

from __future__ import annotations

import random
from collections.abc import Sequence

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams


def make_request(prompt: Sequence[int], *, priority: int = 0, **settings: object) -> Request:
    """Return a greedy request for 64 tokens, unless `settings` say otherwise."""
    params = SamplingParams(
        **{"max_tokens": 64, "temperature": 0, "ignore_eos": True, **settings}  # type: ignore[arg-type]
    )
    detokenizer = IncrementalDetokenizer(lambda token: b"x")
    return Request("test", list(prompt), params, detokenizer, priority=priority)


def run_to_end(engine: Engine) -> None:
    """Step until nothing is left, and verify that nothing is held."""
    while engine.has_work:
        engine.step()
    engine.scheduler.check()
    assert engine.stats().num_blocks_used == 0


def generate(engine: Engine, prompts: Sequence[Sequence[int]], **settings: object) -> list[list[int]]:
    """Generate for all prompts at once."""
    requests = [make_request(prompt, **settings) for prompt in prompts]
    for request in requests:
        engine.add(request)
    run_to_end(engine)
    return [request.output_ids for request in requests]


def generate_among_aborts(
    engine: Engine, prompts: Sequence[Sequence[int]], chance: random.Random, **settings: object
) -> list[list[int]]:
    """Generate with requests arriving at random steps among neighbours that are aborted half way."""
    requests = [make_request(prompt, **settings) for prompt in prompts]
    waiting = list(requests)
    doomed: list[Request] = []
    while waiting or engine.has_work:
        for _ in range(min(len(waiting), chance.choice([0, 0, 1, 3]))):
            engine.add(waiting.pop())
            doomed.append(make_request(chance.choice(prompts), max_tokens=chance.randrange(1, 40)))
            engine.add(doomed[-1])
        engine.step()
        if doomed and chance.random() < 0.3:
            engine.abort(doomed.pop(chance.randrange(len(doomed))))
    run_to_end(engine)
    return [request.output_ids for request in requests]
