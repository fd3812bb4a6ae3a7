"""What the number formats cost in quality: perplexity and agreement with fp32 on our own docs.

    forebay bench quantization [--tokens N] [--json]

The text is cut into windows of 512 tokens; every token but a window's first is predicted. Agreement is the
share of positions at which both find the same token likeliest. fp32 is the baseline, in the same run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import cyclopts

from backend_engine.assemble import build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.kv.dtype import KVDtype
from backend_engine.launcher import EngineOptions
from backend_engine.quant.base import Quantization
from backend_engine.request import Request
from backend_engine.sampling.logprobs import PositionLogprobs
from backend_engine.sampling.params import SamplingParams
from benchmarks import report
from gateway.models.store import ModelStore

WINDOW = 512
DOCS = Path(__file__).parents[1] / "docs"


FORMATS: dict[str, tuple[Quantization, KVDtype]] = {
    "auto": ("auto", "fp16"),
    "auto-kv8": ("auto", "int8"),
    "int8": ("int8", "fp16"),
    "int4": ("int4", "fp16"),
    "fp32": ("none", "fp32"),
}
"""Weights and KV cache; the first is the default."""


def positions(path: str, name: str, tokens: int) -> list[PositionLogprobs]:
    """Return what a model makes of each token of the text."""
    quantization, kv_dtype = FORMATS[name]
    loaded = load_model(path, quantization)
    text = "\n\n".join(page.read_text() for page in sorted(DOCS.glob("*.md")))
    if not text:
        raise SystemExit(f"there is no text in {DOCS}: run this from a checkout")
    ids = loaded.tokenizer.encode(text)[:tokens]
    engine = build_engine(loaded, EngineOptions(model=path, kv_dtype=kv_dtype))
    params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=1)
    out: list[PositionLogprobs] = []
    for start in range(0, len(ids) - 1, WINDOW):
        window = ids[start : start + WINDOW]
        request = Request("text", window, params, IncrementalDetokenizer(lambda token: b""))
        engine.add(request)
        while engine.has_work:
            engine.step()
        out += request.prompt_logprobs
    return out


def bench(
    *,
    tokens: int = 4096,
    model: str = "smollm2-135m-instruct",
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Compare the formats of weights and KV cache with fp32.

    Parameters
    ----------
    tokens: how much text to read.
    model: name or path of the model.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    path = str(ModelStore().path(model))
    found = {name: positions(path, name, tokens) for name in FORMATS}

    def figures(name: str) -> dict[str, float]:
        ours, reference = found[name], found["fp32"]
        same = sum(a.top[0][0] == b.top[0][0] for a, b in zip(ours, reference, strict=True))
        loss = -sum(position.logprob for position in ours) / len(ours)
        return {"perplexity": round(math.exp(loss), 3), "agreement": round(same / len(ours), 4)}

    ours, *others = FORMATS
    peers = {name: figures(name) for name in others}
    ratios = report.ratios(figures(ours), peers, higher_is_better={"agreement"})
    report.publish("quantization", machine, figures(ours), peers, ratios, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
