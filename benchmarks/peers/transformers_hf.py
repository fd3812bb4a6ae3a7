"""transformers in fp32 with its own KV cache: the reference implementation, greedy.

Reads a job as JSON from standard input, writes figures to standard output; imports nothing of ours.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

logging.disable(logging.WARNING)


@torch.inference_mode()
def run(model: Any, prompts: list[list[int]], new_tokens: int) -> dict[str, float]:
    """Prefill all prompts, then decode them together; returns seconds of each phase."""
    begun = time.perf_counter()
    out = model(torch.tensor(prompts), use_cache=True, logits_to_keep=1)
    tokens = out.logits[:, -1].argmax(-1, keepdim=True)
    prefilled = time.perf_counter()
    for _ in range(new_tokens - 1):
        out = model(tokens, past_key_values=out.past_key_values, use_cache=True)
        tokens = out.logits[:, -1].argmax(-1, keepdim=True)
    ended = time.perf_counter()
    return {"prefill_s": prefilled - begun, "decode_s": ended - prefilled}


@torch.inference_mode()
def perplexity(model: Any, windows: list[list[int]]) -> float:
    losses = []
    for window in windows:
        ids = torch.tensor([window])
        logprobs = model(ids).logits[0, :-1].log_softmax(-1)
        losses.append(-logprobs.gather(1, ids[0, 1:, None])[:, 0])
    return float(torch.cat(losses).mean().exp())


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    path = Path(job["model"])
    model = AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32, local_files_only=True
    ).eval()
    run(model, [[1] * 8], 4)
    timings = [run(model, case["prompts"], case["new_tokens"]) for case in job["cases"]]
    json.dump({"timings": timings, "perplexity": perplexity(model, job["windows"])}, sys.stdout)


if __name__ == "__main__":
    main()
