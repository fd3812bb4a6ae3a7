"""Our engine, driven in process like the peers: no HTTP on either side.

Reads a job as JSON from standard input, writes figures to standard output.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any

from backend_engine.assemble import build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams


def run(engine: Engine, prompts: list[list[int]], new_tokens: int) -> dict[str, float]:
    """Prefill all prompts, then decode them together; returns seconds of each phase.

    Prefill lasts until the last sequence has its first token, decode from there: sequences that were
    ready earlier decode while others prefill, and what they gain counts for neither.
    """
    params = SamplingParams(max_tokens=new_tokens, temperature=0, ignore_eos=True)
    requests = [
        Request(str(at), list(prompt), params, IncrementalDetokenizer(lambda token: b""))
        for at, prompt in enumerate(prompts)
    ]
    begun = time.perf_counter()
    for request in requests:
        engine.add(request)
    while not all(request.num_output_tokens for request in requests):
        engine.step()
    prefilled = time.perf_counter()
    already = sum(request.num_output_tokens for request in requests)
    while engine.has_work:
        engine.step()
    ended = time.perf_counter()
    left = len(prompts) * new_tokens - already
    # Scaled to what the peers time: all but the first token of every sequence.
    scale = len(prompts) * (new_tokens - 1) / left
    return {"prefill_s": prefilled - begun, "decode_s": (ended - prefilled) * scale}


def perplexity(engine: Engine, windows: list[list[int]]) -> float:
    params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)
    losses = []
    for window in windows:
        request = Request("text", list(window), params, IncrementalDetokenizer(lambda token: b""))
        engine.add(request)
        while engine.has_work:
            engine.step()
        losses += [-position.logprob for position in request.prompt_logprobs]
    return math.exp(sum(losses) / len(losses))


def main() -> None:
    # As the engine's own process does (see `backend_engine.__main__`).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    job: dict[str, Any] = json.load(sys.stdin)
    options = EngineOptions(
        model=job["model"],
        quantization=job["quantization"],
        kv_dtype=job["kv_dtype"],
        threads=job["threads"],
        prefix_cache=False,
        # Random prompts end in loops, which drafts see through: what is compared is the model.
        speculation="off",
        kv_memory_mb=2048,
    )
    loaded = load_model(options.model, options.quantization, threads=options.threads)
    engine = build_engine(loaded, options)
    run(engine, [[1] * 8], 4)
    timings = [run(engine, case["prompts"], case["new_tokens"]) for case in job["cases"]]
    json.dump({"timings": timings, "perplexity": perplexity(engine, job["windows"])}, sys.stdout)


if __name__ == "__main__":
    main()
