"""Two thousand mixed requests, many abandoned half way, leave nothing behind."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.support.engine_process import running_engine

REQUESTS = 2000
CONCURRENCY = 24
GROWTH_MIB = 40
"""What the second half of the soak may add to the engine's memory: allocator noise, not a leak."""


def body_of(chance: random.Random) -> dict[str, Any]:
    words = " ".join(chance.choice(["lock", "gate", "water", "turbine", "crate"]) for _ in range(60))
    body: dict[str, Any] = {
        "model": "smollm2",
        "prompt": words[: chance.choice([20, 80, 300])],
        "max_tokens": chance.choice([1, 4, 12, 30]),
        "temperature": chance.choice([0, 0.7, 1.3]),
        "stream": chance.random() < 0.5,
        "ignore_eos": chance.random() < 0.3,
    }
    extras: list[dict[str, Any]] = [
        {"n": 3},
        {"stop": ["\n", "lock"]},
        {"logprobs": 2},
        {"top_p": 0.8, "top_k": 40, "min_p": 0.02},
        {"repetition_penalty": 1.2, "presence_penalty": 0.5},
        {"logit_bias": {"28": -5}},
        {"max_tokens": 100_000},
        {},
    ]
    return {**body, **chance.choice(extras)}


async def one(http: aiohttp.ClientSession, chance: random.Random) -> str:
    """Send a request; a third of the callers leave at a random moment."""
    body = body_of(chance)
    patience = chance.uniform(0.0, 0.6) if chance.random() < 0.33 else None
    headers = {"x-forebay-salt": chance.choice(["a", "b"])}
    try:
        async with (
            asyncio.timeout(patience),
            http.post("/v1/completions", json=body, headers=headers) as reply,
        ):
            raw = await reply.read()
            if body["max_tokens"] > 10_000:
                assert reply.status == 400, raw
                return "refused"
            assert reply.status == 200, raw
            assert not body["stream"] or raw.endswith(b"data: [DONE]\n\n")
            return "answered"
    except TimeoutError:
        return "left"


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_nothing_is_left_behind(smollm2_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    # A pool that is too small for the load, so that preemption is part of it.
    options = {"model_name": "smollm2", "kv_memory_mb": 12, "log_level": "warning"}
    context = running_engine(smollm2_path, log, **options)
    url = await asyncio.to_thread(context.__enter__)
    try:
        (engine,) = [
            child
            for child in psutil.Process().children(recursive=True)
            if "backend_engine" in " ".join(child.cmdline())
        ]
        memory: list[float] = []
        counts: dict[str, int] = {}
        todo = iter(range(REQUESTS))

        async def worker(http: aiohttp.ClientSession) -> None:
            for number in todo:
                outcome = await one(http, random.Random(number))
                counts[outcome] = counts.get(outcome, 0) + 1
                if number % 100 == 0:
                    memory.append(engine.memory_info().rss / 2**20)

        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(url, connector=connector) as http:
            await asyncio.gather(*(worker(http) for _ in range(CONCURRENCY)))
            idle = {"forebay_engine_num_requests_running 0.0", "forebay_engine_kv_cache_usage_perc 0.0"}
            async with asyncio.timeout(30):
                while True:
                    async with http.get("/metrics") as reply:
                        page = await reply.text()
                    if idle <= set(page.splitlines()):
                        break
                    await asyncio.sleep(0.05)
        print(f"{counts}; memory in MiB every 100 requests: {[round(m) for m in memory]}")
        assert sum(counts.values()) == REQUESTS
        assert min(counts.values()) > 50
        assert "forebay_engine_num_preemptions_total 0.0" not in page, "the pool was meant to be too small"
        half = len(memory) // 2
        assert max(memory[half:]) - max(memory[:half]) < GROWTH_MIB
        assert log.read_text() == "", "a warning or an error was logged"
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
