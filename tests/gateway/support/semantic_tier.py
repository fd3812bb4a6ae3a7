"""A gateway with the semantic process of the tests' small parts, in front of a scripted upstream."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of
from tests.gateway.support.upstream import ScriptedUpstream
from tests.semantic_cache.support.semantic_process import PATIENT_S, Semantic, running_semantic

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
models:
  m: {{upstream: up, price: {{input: 1000000, output: 1000000}}}}
  other: {{upstream: up}}
  judge: {{upstream: up}}
cache:
  store: "{store}"
  mode: {mode}
  semantic: {{deadline_ms: {deadline_ms}{more}}}
  shared: {shared}
{tenants}
"""
STORED = "what is the capital of France"
REORDERED = "the capital of France is what"
NEAR = "what is the large capital of France"
UNSURE = "what is the capital city of the France republic"


class Tier:
    """A gateway with a semantic process beside it."""

    def __init__(self, gateway: RunningGateway, semantic: Semantic, upstream: ScriptedUpstream) -> None:
        self.gateway = gateway
        self.semantic = semantic
        self.upstream = upstream

    async def ask(self, text: Any, **headers: str) -> tuple[dict[str, str], Any]:
        return await self.send(chat(messages=[{"role": "user", "content": text}]), **headers)

    async def send(self, body: dict[str, Any], **headers: str) -> tuple[dict[str, str], Any]:
        async with self.gateway.post(body=body, **headers) as response:
            assert response.status == 200, await response.text()
            sent = {name.lower(): value for name, value in response.headers.items()}
            return sent, await response.json(content_type=None)

    async def verdict(self, text: Any, **headers: str) -> str:
        return (await self.ask(text, **headers))[0]["x-forebay-cache"]

    async def metric(self, name: str, **labels: str) -> float:
        async with self.gateway.get("/metrics") as response:
            page = await response.text()
        total = 0.0
        for line in page.splitlines():
            if line.startswith(name) and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    async def until(self, count: float, name: str, **labels: str) -> None:
        async with asyncio.timeout(PATIENT_S):
            while await self.metric(name, **labels) < count:
                await asyncio.sleep(0.005)

    async def until_connected(self, **headers: str) -> None:
        """Wait until the gateway's own end of the socket is up."""
        async with asyncio.timeout(PATIENT_S):
            while await self.metric("forebay_semantic_calls_total", outcome="answered") < 1:
                await self.ask(f"is anybody there {os.urandom(8).hex()}", cache_control="no-store", **headers)
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running_tier(
    folder: Path,
    upstream: ScriptedUpstream,
    *,
    mode: str = "serve",
    more: str = "",
    deadline_ms: int = 20_000,
    tenants: Any = None,
    shared: Any = (),
    traced: bool = False,
) -> AsyncIterator[Tier]:
    async with running_semantic(folder) as semantic:
        yaml = CONFIG.format(
            url=upstream.base_url,
            store=semantic.url,
            mode=mode,
            more=more,
            deadline_ms=deadline_ms,
            shared=json.dumps(shared),
            tenants=f"tenants: {json.dumps(tenants)}" if tenants else "",
        )
        async with running_gateway(
            yaml, folder, cached=True, traced=traced, semantic=str(semantic.socket)
        ) as gateway:
            tier = Tier(gateway, semantic, upstream)
            if tenants is None:
                await tier.until_connected()
                upstream.received.clear()
                gateway.spans.clear()
            elif shared:
                await tier.until_connected(**bearer(key_of(tenants[0]["name"])))
                upstream.received.clear()
            yield tier


async def feed_back(tier: Tier, request_id: str, body: Any, **headers: str) -> tuple[int, Any]:
    path = f"/forebay/requests/{request_id}/feedback"
    async with tier.gateway.post(path, json.dumps(body).encode(), **headers) as response:
        return response.status, await response.json()
