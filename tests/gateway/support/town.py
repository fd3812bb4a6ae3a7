"""A gateway whose tenants `ada`, `bob` and `cyd` share answers, and `eve` does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.upstream import ScriptedUpstream, begin_stream, chunk, completion

MEMBERS = ("ada", "bob", "cyd")
GROUP = {"name": "team", "tenants": list(MEMBERS)}
CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
models:
  m: {{upstream: up}}
  other: {{upstream: up}}
cache: {{store: "{store}", semantic: null, stale_s: {stale_s}, shared: {shared}}}
tenants: {tenants}
"""


class Town:
    """Asks as one tenant or another."""

    def __init__(self, gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.answer = ""
        """What the upstream answers."""
        upstream.reply = self._reply

    async def ask(self, who: str, answer: str = "", body: Any = None, **headers: str) -> tuple[str, str]:
        """Return verdict and answer; `answer` is what the upstream says, should it be asked."""
        sent, said = await self.full(who, answer, body, **headers)
        return sent["x-forebay-cache"], said

    async def full(
        self, who: str, answer: str = "", body: Any = None, **headers: str
    ) -> tuple[dict[str, str], str]:
        """Return headers and answer. What is stored by it, and compared, is so when this returns."""
        self.answer = answer or self.answer
        body = body or chat()
        alone = who not in MEMBERS or "private" in headers.get("cache_control", "") or "cache" in body
        before = await self.stored(), await self.compared()
        async with self.gateway.post(body=body, **bearer(key_of(who)), **headers) as response:
            raw = await response.read()
            assert response.status == 200, raw
            sent = {name.lower(): value for name, value in response.headers.items()}
        if sent["x-forebay-cache"] == "miss" and "no-store" not in headers.get("cache_control", ""):
            async with asyncio.timeout(20):
                while await self.stored() == before[0] or (not alone and await self.compared() == before[1]):
                    await asyncio.sleep(0.003)
        return sent, _text(raw)

    async def feedback(self, who: str, request_id: str, *, good: bool) -> str:
        """Return the effect of what a tenant says of an answer."""
        path, body = f"/forebay/requests/{request_id}/feedback", json.dumps({"good": good}).encode()
        async with self.gateway.post(path, body, **bearer(key_of(who))) as response:
            assert response.status == 200, await response.text()
            effect: str = (await response.json())["effect"]
            return effect

    async def stored(self) -> float:
        return await self.metric("forebay_cache_admissions_total")

    async def compared(self, **labels: str) -> float:
        return await self.metric("forebay_cache_confirmations_total", **labels)

    async def metric(self, name: str, **labels: str) -> float:
        async with self.gateway.get("/metrics") as response:
            page = await response.text()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in page.splitlines()
            if line.startswith(name) and all(f'{key}="{value}"' in line for key, value in labels.items())
        )

    async def _reply(self, request: web.Request, received: bytes) -> web.StreamResponse:
        text = self.answer
        if not json.loads(received).get("stream"):
            return web.json_response(text=completion(text).decode())
        response = await begin_stream(request)
        await response.write(chunk({"role": "assistant", "content": ""}))
        await response.write(chunk({"content": text}))
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        await response.write(chunk({}, "stop", usage=usage))
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def running_town(
    folder: Path,
    upstream: ScriptedUpstream,
    *,
    store: str | None = None,
    shared: Any = (GROUP,),
    stale_s: float = 0,
    more_tenants: Any = (),
    traced: bool = False,
) -> AsyncIterator[Town]:
    yaml = CONFIG.format(
        url=upstream.base_url,
        store=store or f"sqlite://{folder}/cache.db",
        stale_s=stale_s,
        shared=json.dumps(shared),
        tenants=json.dumps([*map(tenant, (*MEMBERS, "eve")), *more_tenants]),
    )
    async with running_gateway(yaml, folder, cached=True, traced=traced) as gateway:
        yield Town(gateway, upstream)


def _text(raw: bytes) -> str:
    """Return what an answer says, streamed or whole."""
    if not raw.startswith(b"data:"):
        said: str = json.loads(raw)["choices"][0]["message"]["content"]
        return said
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith(b"data: {")]
    return "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])
