"""A client that leaves the gateway frees the engine's slot and blocks, streaming or not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway_process import GatewayProcess, running_gateway

CONFIG = """
upstreams:
  engine: {kind: openai, base_url: "%s/v1"}
models:
  smollm2: {upstream: engine}
"""


@pytest.fixture
def gateway(tmp_path: Path, engine_url: str) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path, CONFIG % engine_url) as gateway:
        yield gateway


async def engine_state(engine_url: str) -> tuple[float, float]:
    """Return the engine's own count of running requests and its share of used KV blocks."""
    async with aiohttp.ClientSession(engine_url) as http, http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return (
        float(values["forebay_engine_num_requests_running"]),
        float(values["forebay_engine_kv_cache_usage_perc"]),
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_the_gateway_frees_the_engine(
    gateway: GatewayProcess, engine_url: str, stream: bool
) -> None:
    # Different questions: equal ones would share a single call.
    bodies = [
        {
            "model": "smollm2",
            "messages": [{"role": "user", "content": f"Tell me everything about {topic}."}],
            "max_tokens": 4000,
            "ignore_eos": True,
            "stream": stream,
        }
        for topic in ("rivers", "bridges", "mills", "locks")
    ]
    async with aiohttp.ClientSession(gateway.url) as http:
        calls = [asyncio.create_task(http.post("/v1/chat/completions", json=body)) for body in bodies]
        async with asyncio.timeout(30):
            while (await engine_state(engine_url))[0] < len(calls):
                await asyncio.sleep(0.02)
        if stream:
            for call in calls:
                (await call).close()
        else:
            for call in calls:
                call.cancel()
        async with asyncio.timeout(20):
            while await engine_state(engine_url) != (0.0, 0.0):
                await asyncio.sleep(0.02)
