"""llama.cpp through llama-cpp-python's low-level interface: its own batches, no sampler in the way.

Reads a job (see `benchmarks.engine.Job`) as JSON from standard input, writes figures to standard output.
Runs in an environment of its own, so it imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import llama_cpp as lib
import numpy as np


def quantize_q4_0(source: Path, target: Path) -> None:
    """Write `source` with Q4_0 body tensors, the format that llama.cpp repacks for AVX."""
    params = lib.llama_model_quantize_default_params()
    params.ftype = lib.LLAMA_FTYPE_MOSTLY_Q4_0
    params.allow_requantize = True
    params.nthread = 2
    if lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)):
        raise RuntimeError("llama.cpp could not requantize the model")


class Llama:
    """One context that holds `sequences` sequences."""

    def __init__(self, path: Path, threads: int, sequences: int, tokens_each: int) -> None:
        model_params = lib.llama_model_default_params()
        model_params.use_mmap = False
        self.model = lib.llama_model_load_from_file(str(path).encode(), model_params)
        params = lib.llama_context_default_params()
        params.n_ctx = sequences * tokens_each
        params.n_batch = params.n_ctx
        params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        self.context = lib.llama_init_from_model(self.model, params)
        self.vocab_size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.batch = lib.llama_batch_init(params.n_ctx, 0, 1)

    def decode(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Compute rows of (token, position, sequence, logits wanted)."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for at, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[at] = token
            batch.pos[at] = position
            batch.n_seq_id[at] = 1
            batch.seq_id[at][0] = sequence
            batch.logits[at] = wanted
        if lib.llama_decode(self.context, batch):
            raise RuntimeError("llama_decode failed")

    def logits(self, row: int) -> Any:
        return np.ctypeslib.as_array(lib.llama_get_logits_ith(self.context, row), (self.vocab_size,))

    def greedy(self, row: int) -> int:
        return int(self.logits(row).argmax())

    def close(self) -> None:
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)


def run(path: Path, prompts: list[list[int]], new_tokens: int, threads: int) -> dict[str, float]:
    """Prefill all prompts, then decode them together; returns seconds of each phase."""
    llama = Llama(path, threads, len(prompts), len(prompts[0]) + new_tokens)
    begun = time.perf_counter()
    rows = [
        (token, position, sequence, position == len(prompt) - 1)
        for sequence, prompt in enumerate(prompts)
        for position, token in enumerate(prompt)
    ]
    llama.decode(rows)
    last = [at for at, row in enumerate(rows) if row[3]]
    tokens = [llama.greedy(at) for at in last]
    prefilled = time.perf_counter()
    for step in range(new_tokens - 1):
        position = len(prompts[0]) + step
        llama.decode([(token, position, sequence, True) for sequence, token in enumerate(tokens)])
        tokens = [llama.greedy(at) for at in range(len(tokens))]
    ended = time.perf_counter()
    llama.close()
    return {"prefill_s": prefilled - begun, "decode_s": ended - prefilled}


def perplexity(path: Path, windows: list[list[int]], threads: int) -> float:
    losses = []
    for window in windows:
        llama = Llama(path, threads, 1, len(window))
        llama.decode([(token, position, 0, True) for position, token in enumerate(window)])
        for row, target in enumerate(window[1:]):
            logits = llama.logits(row).astype(np.float64)
            losses.append(np.logaddexp.reduce(logits) - logits[target])
        llama.close()
    return float(np.exp(np.mean(losses)))


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    lib.llama_backend_init()
    # Kept in a name: the library calls it for as long as the process lives.
    silent = lib.llama_log_callback(lambda level, text, data: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    target = Path(job["work"]) / "q4_0.gguf"
    quantize_q4_0(Path(job["model"]), target)
    timings = [run(target, case["prompts"], case["new_tokens"], job["threads"]) for case in job["cases"]]
    quality = perplexity(target, job["windows"], job["threads"])
    json.dump({"timings": timings, "perplexity": quality}, sys.stdout)


if __name__ == "__main__":
    main()
