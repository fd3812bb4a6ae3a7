"""CTranslate2 with int8 weights, converted from the same file; greedy.

Reads a job as JSON from standard input, writes figures to standard output; imports nothing of ours. Its
generator gives no time of the first token, so prefill is a run for one token, decode the rest of a full one.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

import ctranslate2

logging.disable(logging.WARNING)


def convert(source: Path, work: Path) -> Path:
    """Convert a GGUF file, by way of a Hugging Face directory; done once for each `work`."""
    target = work / "ctranslate2"
    if not target.exists():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        origin: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
        directory = work / "hugging-face"
        AutoModelForCausalLM.from_pretrained(str(source.parent), **origin).save_pretrained(directory)
        AutoTokenizer.from_pretrained(str(source.parent), **origin).save_pretrained(directory)
        converter = ctranslate2.converters.TransformersConverter(str(directory))
        converter.convert(str(target), quantization="int8")
    return target


def run(generator: Any, prompts: list[list[str]], new_tokens: int) -> dict[str, float]:
    """Return seconds of prefill, and of decoding all tokens after the first."""
    options: dict[str, Any] = {"sampling_topk": 1, "include_prompt_in_result": False, "end_token": []}
    begun = time.perf_counter()
    generator.generate_batch(prompts, max_length=1, **options)
    prefilled = time.perf_counter()
    results = generator.generate_batch(prompts, max_length=new_tokens, min_length=new_tokens, **options)
    ended = time.perf_counter()
    if any(len(result.sequences_ids[0]) != new_tokens for result in results):
        raise RuntimeError("CTranslate2 stopped early")
    prefill = prefilled - begun
    return {"prefill_s": prefill, "decode_s": ended - prefilled - prefill}


def perplexity(generator: Any, windows: list[list[str]]) -> float:
    losses = [-x for window in windows for x in generator.score_batch([window])[0].log_probs]
    return math.exp(sum(losses) / len(losses))


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    path = convert(Path(job["model"]), Path(job["work"]))
    generator = ctranslate2.Generator(
        str(path), device="cpu", compute_type="int8", inter_threads=1, intra_threads=job["threads"]
    )
    words: list[str] = json.loads((path / "vocabulary.json").read_text())

    def tokens(rows: list[list[int]]) -> list[list[str]]:
        return [[words[token] for token in row] for row in rows]

    run(generator, tokens([[1] * 8]), 4)
    timings = [run(generator, tokens(case["prompts"]), case["new_tokens"]) for case in job["cases"]]
    json.dump({"timings": timings, "perplexity": perplexity(generator, tokens(job["windows"]))}, sys.stdout)


if __name__ == "__main__":
    main()
