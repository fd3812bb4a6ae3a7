"""Likelihoods from a real engine over HTTP: transformers' own, in time or not at all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from aiohttp import web

from backend_engine.loading.checkpoint import load_checkpoint
from gateway.compression.perplexity.nll import Token
from gateway.compression.perplexity.scorer import MOST_CHARS, Scorer
from gateway.config.schema import Model, OpenAIUpstream, Price
from gateway.exchange import Exchange, Route
from gateway.upstreams.openai import OpenAI
from gateway.wire.request import Endpoint
from telemetry.metrics import GatewayMetrics
from telemetry.spans import NOOP_SPAN, NullTracer
from tests.gateway.support.upstream import ScriptedUpstream, json_reply
from tests.support.engine_process import running_engine

TEXTS = [
    "The mill of the old town was built in 1704. Nobody knows who owns it – 漢字 🎉 – today.",
    "Question: when was the mill built?",
]


@pytest.fixture(scope="module")
def fp32_url(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine in the numbers of the reference."""
    log = tmp_path_factory.mktemp("fp32") / "engine.log"
    options = {"model_name": "smollm2", "quantization": "none", "kv_dtype": "fp32", "kv_memory_mb": 64}
    with running_engine(smollm2_path, log, **options) as url:
        yield url


def exchange() -> Exchange:
    async def receive(limit: int) -> bytes:
        return b""

    return Exchange(Endpoint.CHAT, {}, receive, tenant="acme")


@asynccontextmanager
async def scorer_at(url: str) -> AsyncIterator[Scorer]:
    upstream = OpenAI("up", OpenAIUpstream(base_url=url))
    await upstream.start()
    target = Model("up", price=Price(input=1.0, output=1.0))
    try:
        yield Scorer(Route("small", "small", target, "smollm2"), upstream, NullTracer(), GatewayMetrics())
    finally:
        await upstream.close()


async def scored(scorer: Scorer, ex: Exchange, texts: list[str], seconds: float = 60.0) -> Any:
    return await scorer.score(ex, NOOP_SPAN, time.monotonic() + seconds, texts)


async def test_tokens_of_the_engine_stand_where_their_bytes_are(engine_url: str) -> None:
    async with scorer_at(f"{engine_url}/v1") as scorer:
        found = await scored(scorer, ex := exchange(), [*TEXTS, f"{TEXTS[1]}\n\n{TEXTS[1]}"])
    for text, tokens in zip(TEXTS, found, strict=False):
        # Together they cover the text; what they share are characters that several of them make up.
        assert tokens[0].start == 0 and tokens[-1].end == len(text)
        assert all(one.start < one.end >= other.start for one, other in pairwise(tokens))
    # What was said before is no news.
    again = [token.nll for token in found[2] if token.start > len(TEXTS[1]) + 2]
    assert sum(again) < 0.5 * sum(token.nll for token in found[1])
    (scoring,) = ex.scorings
    assert scoring.model == "small" and scoring.seconds > 0
    assert scoring.usage.input_tokens == sum(map(len, found))


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_the_engines_likelihoods_are_those_of_transformers(fp32_url: str, smollm2_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    checkpoint = load_checkpoint(smollm2_path)
    config = checkpoint.config
    reference = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=True,
        )
    ).eval()
    state = {name: checkpoint.tensor(name) for name in reference.state_dict() if name != "lm_head.weight"}
    reference.load_state_dict(state, strict=False)
    reference.tie_weights()

    async with scorer_at(f"{fp32_url}/v1") as scorer:
        found = await scored(scorer, exchange(), TEXTS)
    for text, tokens in zip(TEXTS, found, strict=True):
        ids = checkpoint.tokenizer.encode(text, add_special=True)
        with torch.no_grad():
            logprobs = torch.log_softmax(reference(torch.tensor([ids])).logits[0].float(), dim=-1)
        expected = [-logprobs[place, token].item() for place, token in enumerate(ids[1:])]
        assert [token.nll for token in tokens] == pytest.approx([0.0, *expected], abs=1e-3)
        for token, token_id in zip(tokens, ids, strict=True):
            piece = checkpoint.tokenizer.token_bytes(token_id)
            assert piece in text[token.start : token.end].encode()


async def test_who_cannot_be_in_time_is_not_asked(upstream: ScriptedUpstream) -> None:
    async with scorer_at(upstream.base_url) as scorer:
        scorer.s_per_char = 1.0
        assert await scored(scorer, ex := exchange(), ["a" * 61]) is None
        scorer.s_per_char = 0.0
        assert await scored(scorer, ex, ["a" * (MOST_CHARS + 1)]) is None
        assert await scored(scorer, ex, []) is None
    assert not upstream.received and not ex.scorings


async def test_who_is_late_once_is_expected_to_be(upstream: ScriptedUpstream) -> None:
    asked = asyncio.Event()

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    upstream.reply = reply
    async with scorer_at(upstream.base_url) as scorer:
        assert await scored(scorer, ex := exchange(), ["a" * 400], 0.2) is None
        assert asked.is_set() and scorer.s_per_char * 400 > 0.19
        # It has read the prompt for all we know.
        assert ex.scorings[0].usage.input_tokens == 100


async def test_who_was_late_is_asked_again_after_a_while(upstream: ScriptedUpstream) -> None:
    said = {"9": {"logprob": -1.0, "decoded_token": "a"}}
    body = json.dumps({"choices": [{"index": 0, "prompt_logprobs": [None, said]}]}).encode()
    cold = True

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        if cold:
            await asyncio.Event().wait()
        return web.Response(body=body, content_type="application/json")

    upstream.reply = reply
    async with scorer_at(upstream.base_url) as scorer:
        assert await scored(scorer, exchange(), ["aa"], 0.3) is None
        cold = False
        found = [await scored(scorer, exchange(), ["aaaa"], 0.3) for _ in range(100)]
    assert found[0] is None and any(tokens is not None for tokens in found)


async def test_whoever_waits_may_leave(upstream: ScriptedUpstream) -> None:
    asked = asyncio.Event()

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    upstream.reply = reply
    async with scorer_at(upstream.base_url) as scorer:
        waiting = asyncio.create_task(scored(scorer, ex := exchange(), ["mill"]))
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(ex.scorings) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "no such field", "type": "invalid_request_error"}}),
        (503, {"error": {"message": "busy", "type": "server_error"}}),
        (200, {"choices": []}),
        (200, {"choices": [{"index": 0, "text": "x"}]}),
        (200, {"choices": [{"index": 0, "prompt_logprobs": [None, {"5": {"logprob": -1.0}}]}]}),
        (200, {"choices": [{"index": 3, "prompt_logprobs": [None]}]}),
    ],
)
async def test_what_is_no_likelihood_is_none(upstream: ScriptedUpstream, status: int, body: Any) -> None:
    upstream.reply = json_reply(json.dumps(body).encode(), status)
    async with scorer_at(upstream.base_url) as scorer:
        assert await scored(scorer, exchange(), ["The mill"]) is None


async def test_texts_go_in_one_call_and_come_back_in_their_order(upstream: ScriptedUpstream) -> None:
    def choice(index: int, token: str, logprob: float) -> dict[str, Any]:
        said = {"9": {"logprob": logprob, "rank": 3, "decoded_token": token}}
        return {"index": index, "text": "", "prompt_logprobs": [None, said]}

    body = {
        "choices": [choice(1, " tower", -2.0), choice(0, " mill", -1.0)],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2},
    }
    upstream.reply = json_reply(json.dumps(body).encode())
    async with scorer_at(upstream.base_url) as scorer:
        found = await scored(scorer, ex := exchange(), ["The mill", "A tower"])
    assert found == [[Token(0, 3, 0.0), Token(3, 8, 1.0)], [Token(0, 1, 0.0), Token(1, 7, 2.0)]]
    (received,) = upstream.received
    sent = json.loads(received.body)
    assert sent["prompt"] == ["The mill", "A tower"] and sent["prompt_logprobs"] == 0
    assert ex.scorings[0].usage.output_tokens == 2
