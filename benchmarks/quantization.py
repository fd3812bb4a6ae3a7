"""What int8 costs in quality: perplexity and agreement with fp32 on this repository's own documentation.

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
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.logprobs import PositionLogprobs
from backend_engine.sampling.params import SamplingParams
from benchmarks import report
from gateway.models.store import ModelStore

WINDOW = 512
DOCS = Path(__file__).parents[1] / "docs"


def positions(path: str, quantization: str, tokens: int) -> list[PositionLogprobs]:
    """Return what a model makes of each token of the text."""
    loaded = load_model(path, "int8" if quantization == "int8" else "none")
    text = "\n\n".join(page.read_text() for page in sorted(DOCS.glob("*.md")))
    if not text:
        raise SystemExit(f"there is no text in {DOCS}: run this from a checkout")
    ids = loaded.tokenizer.encode(text)[:tokens]
    engine = build_engine(loaded, EngineOptions(model=path))
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
    """Compare int8 with fp32.

    Parameters
    ----------
    tokens: how much text to read.
    model: name or path of the model.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    path = str(ModelStore().path(model))
    found = {name: positions(path, name, tokens) for name in ("fp32", "int8")}

    def figures(name: str) -> dict[str, float]:
        ours, reference = found[name], found["fp32"]
        same = sum(a.top[0][0] == b.top[0][0] for a, b in zip(ours, reference, strict=True))
        loss = -sum(position.logprob for position in ours) / len(ours)
        return {"perplexity": round(math.exp(loss), 3), "agreement": round(same / len(ours), 4)}

    peers = {"fp32": figures("fp32")}
    ratios = report.ratios(figures("int8"), peers, higher_is_better={"agreement"})
    report.publish("quantization", machine, figures("int8"), peers, ratios, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
