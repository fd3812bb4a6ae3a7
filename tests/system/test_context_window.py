"""Prompts that are longer than the window of a real model, which counts their tokens itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai

from gateway.config.schema import EngineUpstream
from gateway.upstreams.base import State
from gateway.upstreams.engine import Engine, EngineStatus
from tests.gateway.support.running import RunningGateway, running_gateway

QUESTION = "When was tower number 17 built?"
TOWN = "\n\n".join(
    f"Tower number {n} of the old town was built in {1700 + n}. Nobody knows who owns it today, but a "
    f"merchant once paid {n}00 guilders for it, which was a great deal of money in those days."
    for n in range(25)
)
CONFIG = """
upstreams:
  engine: {kind: engine, model: smollm2}
models:
  small: {upstream: engine, context: 500}
  large: {upstream: engine}
compress: {mode: fit, fit: {longer: [large]}}
"""
ELSEWHERE = """
upstreams:
  elsewhere: {kind: openai, base_url: "%s/v1"}
models:
  smollm2: {upstream: elsewhere}
"""


async def ask(gateway: RunningGateway, **options: Any) -> tuple[Any, dict[str, Any]]:
    messages: Any = [{"role": "user", "content": f"{TOWN}\n\n{QUESTION}"}]
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        raw = await client.chat.completions.with_raw_response.create(messages=messages, **options)
        return raw.parse(), await gateway.settled(raw.headers["x-forebay-request-id"])


async def test_the_engines_own_count_decides(tmp_path: Path, engine_url: str) -> None:
    status = EngineStatus()
    status.update(State.READY, engine_url)
    engine = Engine("engine", EngineUpstream(model="smollm2"), status)
    async with running_gateway(CONFIG, tmp_path, upstreams={"engine": engine}) as gateway:
        answer, record = await ask(
            gateway, model="small", max_tokens=1, extra_headers={"x-forebay-compress": "fit:compress"}
        )
        fit = record["fit"]
        assert fit["strategy"] == "compress" and fit["exact"] and fit["window"] == 500
        # What was counted beforehand is what the model has read.
        assert answer.usage.prompt_tokens == fit["tokens_after"] <= 499 < 1000 < fit["tokens_before"]
        answer, record = await ask(gateway, model="small", max_tokens=1)
        assert record["route"] == "large" and record["fit"]["window"] == 8192
        assert answer.usage.prompt_tokens == record["fit"]["tokens_before"]


async def test_the_engines_own_refusal_is_understood(tmp_path: Path, engine_url: str) -> None:
    async with running_gateway(ELSEWHERE % engine_url, tmp_path) as gateway:
        # More than 1,000 tokens and 7,400 more are beyond its window; the answer ends with its first word.
        answer, record = await ask(gateway, model="smollm2", max_tokens=7400, stop=[" ", "\n", "."])
        assert record["attempts"] == 2 and record["calls"][0]["status"] == 400
        assert record["fit"]["window"] == 8192 and record["fit"]["strategy"] == "compress"
        assert answer.usage.prompt_tokens <= 792 and not record["fit"]["exact"]
