"""What a request asks for beside text is the same whether its prompt was cached or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend_engine.assemble import LoadedModel, build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine, TokenOutput
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams

PROMPT = [1000 + at * 104_729 % 3000 for at in range(70)]
# In fp32 a matrix product may round differently in another shape. For the same reason few tokens are left
# to draw from: after a prompt of random tokens all are about as likely, and a draw could fall between two.
CLOSE = 2e-4


@pytest.fixture(scope="module")
def engine(smollm2_path: Path) -> Engine:
    loaded: LoadedModel = load_model(str(smollm2_path), "none", threads=1)
    return build_engine(loaded, EngineOptions(model=str(smollm2_path), kv_memory_mb=64, kv_dtype="fp32"))


def run(engine: Engine, salt: str, n: int, **settings: Any) -> tuple[list[Request], list[TokenOutput]]:
    params = SamplingParams(**{"max_tokens": 12, "ignore_eos": True, **settings})
    requests = [
        Request(
            "r",
            list(PROMPT),
            params,
            IncrementalDetokenizer(lambda t: b"x"),
            salt=salt,
            sample_index=at,
            seed=9,
        )
        for at in range(n)
    ]
    for request in requests:
        engine.add(request)
    outputs = []
    while engine.has_work:
        outputs += engine.step()
    return requests, outputs


CASES: dict[str, dict[str, Any]] = {
    "several samples": {"n": 3, "temperature": 1.0, "top_k": 10},
    "logprobs": {"n": 1, "temperature": 0.0, "logprobs": 5},
    "logprobs of several samples": {"n": 2, "temperature": 0.9, "top_k": 10, "logprobs": 2},
    "prompt logprobs": {"n": 1, "temperature": 0.0, "prompt_logprobs": 3},
    "prompt logprobs of several samples": {"n": 2, "temperature": 1.0, "top_k": 10, "prompt_logprobs": 1},
    "penalties": {
        "n": 2,
        "temperature": 0.7,
        "top_k": 10,
        "repetition_penalty": 1.3,
        "presence_penalty": 0.8,
        "frequency_penalty": 0.4,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_cached_and_cold_give_the_same(case: str, engine: Engine) -> None:
    settings = CASES[case]
    cold, cold_outputs = run(engine, f"cold {case}", **settings)
    run(engine, case, n=1, max_tokens=1)
    warm, warm_outputs = run(engine, case, **settings)
    for a, b in zip(cold, warm, strict=True):
        assert a.output_ids == b.output_ids
        wants_prompt = a.params.prompt_logprobs is not None
        assert b.num_cached == (0 if wants_prompt else 64)
        assert len(b.prompt_logprobs) == (len(PROMPT) - 1 if wants_prompt else 0)
        for x, y in zip(a.prompt_logprobs, b.prompt_logprobs, strict=True):
            assert (x.token_id, x.rank) == (y.token_id, y.rank)
            assert x.logprob == pytest.approx(y.logprob, abs=CLOSE)
    by_sample = [
        sorted((output for output in outputs if output.logprobs), key=lambda o: o.request.sample_index)
        for outputs in (cold_outputs, warm_outputs)
    ]
    for ours, theirs in zip(*by_sample, strict=True):
        assert ours.logprobs is not None
        assert theirs.logprobs is not None
        assert [token for token, _ in ours.logprobs.top] == [token for token, _ in theirs.logprobs.top]
        assert ours.logprobs.logprob == pytest.approx(theirs.logprobs.logprob, abs=CLOSE)
