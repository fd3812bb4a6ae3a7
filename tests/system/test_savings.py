"""Savings of a gateway of several processes, over its end and its next beginning."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway.support.running import chat
from tests.gateway.support.upstream import scripted_upstream
from tests.support.gateway_process import GatewayProcess, running_gateway

CONFIG = """
server: {{workers: 2, drain_s: 5}}
upstreams: {{up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}}}
models: {{m: {{upstream: up, price: {{input: 1000000, output: 1000000}}}}}}
cache: null
"""
CALLERS = 12


async def test_workers_add_up_and_a_clean_stop_loses_nothing(tmp_path: Path) -> None:
    async with scripted_upstream() as upstream:
        config = CONFIG.format(url=upstream.base_url)
        with running_gateway(tmp_path, config) as gateway:
            # No pause: the stop comes within the second in which nothing has been written down yet.
            await asyncio.gather(*(ask(gateway) for _ in range(CALLERS)))
            await asyncio.to_thread(gateway.stop)
        assert len(upstream.received) == CALLERS
        with running_gateway(tmp_path, config) as gateway:
            total = (await savings(gateway))["total"]
    assert (total["requests"], total["direct_usd"], total["actual_usd"]) == (12, 144, 144)


async def ask(gateway: GatewayProcess) -> None:
    # A connection each, so that both workers get some.
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{gateway.url}/v1/chat/completions", json=chat()) as response,
    ):
        assert response.status == 200, await response.text()
        await response.read()


async def savings(gateway: GatewayProcess) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/forebay/savings") as response:
        assert response.status == 200, await response.text()
        return await response.json()
