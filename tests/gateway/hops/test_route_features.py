"""What a route finds out of a query before any model is asked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from aiohttp import web

from gateway.routing import features, past
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import Reply, ScriptedUpstream, completion, json_reply
from tests.semantic_cache.support.semantic_process import PATIENT_S, running_semantic

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}"}}
models:
  small: {{upstream: up, price: {{input: 5, output: 5}}}}
  large: {{upstream: up, price: {{input: 10, output: 20}}}}
routes:
  auto: {{tiers: [small, large], shadow: 1.0}}
cache:
  store: "{store}"
  semantic: {{deadline_ms: 20000}}
"""


def multiplying(small_is_right: Callable[[str], bool]) -> Reply:
    """Models that calculate in the open."""

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        text = body["messages"][-1]["content"]
        a, b = map(int, re.findall(r"\d+", text))
        wrong = body["model"] == "small" and not small_is_right(text)
        return web.json_response(text=completion(f"{a} * {b} = {a * b + 7 * wrong}").decode())

    return reply


def question(topic: str, draw: Random) -> str:
    """Return a question that no other is very like, two of a topic more so than two of different ones."""
    own = " ".join("".join(draw.choices("bcdfglmnprst", k=6)) for _ in range(4))
    return f"{topic} {topic} {own} {draw.randrange(100)} boxes of {draw.randrange(100)}"


async def answered_by(gateway: RunningGateway, text: str) -> tuple[str, str]:
    """Return the route and its reason."""
    async with gateway.post(body=chat("auto", messages=[{"role": "user", "content": text}])) as response:
        assert response.status == 200, await response.text()
        return response.headers["x-forebay-route"], response.headers["x-forebay-route-reason"]


async def learned(gateway: RunningGateway, count: int) -> None:
    """Wait until so many answers have been compared."""
    async with asyncio.timeout(PATIENT_S):
        while True:
            async with gateway.get("/metrics") as response:
                lines = [line for line in (await response.text()).splitlines() if "_outcomes_total{" in line]
            if sum(float(line.rsplit(" ", 1)[1]) for line in lines if "forebay_route" in line) >= count:
                return
            await asyncio.sleep(0.01)


async def test_what_the_small_model_failed_at_goes_to_the_large_one_at_once(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This machine may have much else to do.
    monkeypatch.setattr(past, "_PATIENCE_S", PATIENT_S)
    upstream.reply = multiplying(lambda text: "mango" in text)
    draw = Random(5)
    async with running_semantic(tmp_path) as semantic:
        yaml = CONFIG.format(url=upstream.base_url, store=semantic.url)
        async with running_gateway(yaml, tmp_path, cached=True, semantic=str(semantic.socket)) as gateway:
            for number in range(160):
                await answered_by(gateway, question("zebra" if number % 2 else "mango", draw))
            await learned(gateway, 150)
            hard = [await answered_by(gateway, question("zebra", draw)) for _ in range(12)]
            easy = [await answered_by(gateway, question("mango", draw)) for _ in range(12)]
    assert sum(route == "large" and "at once" in why for route, why in hard) >= 9, hard
    assert sum(route == "small" for route, _ in easy) >= 9, easy


SCORED = """
upstreams:
  up: {{kind: openai, base_url: "{url}"}}
  engine: {{kind: openai, base_url: "{engine}/v1"}}
models:
  small:
    upstream: engine
    model: smollm2
    price: {{input: 1, output: 1}}
    capabilities: {{prompt_logprobs: true}}
  large: {{upstream: up, price: {{input: 10, output: 20}}}}
routes:
  auto: {{tiers: [small, large], shadow: 1.0, perplexity: true}}
"""
PLAIN = "What is the capital of France?"
ODD = "Purple seventeen walks below cheese, and of?"


async def test_the_small_model_says_how_surprising_a_question_is(
    upstream: ScriptedUpstream, tmp_path: Path, engine_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_PERPLEXITY_S", PATIENT_S)
    # By their form alone these agree with nothing or with all, which is what makes them outcomes.
    upstream.reply = json_reply(completion("7"))
    yaml = SCORED.format(url=upstream.base_url, engine=engine_url)
    asks = "Reply with one number from 1 to 9 and no word."
    async with running_gateway(yaml, tmp_path, traced=True) as gateway:
        for text in (PLAIN, ODD):
            messages = [{"role": "system", "content": asks}, {"role": "user", "content": text}]
            body = chat("auto", messages=messages, max_tokens=4, temperature=0)
            async with gateway.post(body=body) as response:
                assert response.status == 200, await response.text()
                record = await gateway.settled(response.headers["x-forebay-request-id"])
            # What the small model read for it is paid for.
            assert record["cost_usd"] > 140e-6
        spans = [span for span in gateway.spans if span.name == "compress.score"]
        route = next(span for span in gateway.spans if span.name == "route")
        assert len(spans) == 2 and spans[0].parent == route.context


async def test_a_model_that_cannot_score_is_late_or_gone_is_done_without(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.reply = multiplying(lambda text: True)
    yaml = SCORED.format(url=upstream.base_url, engine="http://127.0.0.1:9")
    async with running_gateway(yaml, tmp_path) as gateway:
        assert (await answered_by(gateway, "7 boxes of 8?"))[0] == "large"
