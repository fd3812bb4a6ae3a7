"""Our engine, driven in process like the peers: no HTTP on either side.

Reads a job as JSON from standard input, writes figures to standard output.
"""

from __future__ import annotations

import json
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


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    options = EngineOptions(
        model=job["model"],
        quantization=job.get("quantization", "int8"),
        threads=job["threads"],
        prefix_cache=False,
        max_batch_tokens=job.get("max_batch_tokens", 512),
        kv_memory_mb=1024,
    )
    loaded = load_model(options.model, options.quantization, threads=options.threads)
    engine = build_engine(loaded, options)
    run(engine, [[1] * 8], 4)
    json.dump([run(engine, case["prompts"], case["new_tokens"]) for case in job["cases"]], sys.stdout)


if __name__ == "__main__":
    main()
