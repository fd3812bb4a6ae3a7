"""What the tests of the cache's hops share."""

from __future__ import annotations

import asyncio

from tests.gateway.support.running import RunningGateway

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
models:
  m: {{upstream: up, price: {{input: 1000000, output: 1000000}}}}
"""


async def until_kept(gateway: RunningGateway, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while True:
            async with gateway.get("/metrics") as response:
                page = await response.text()
            kept = [line for line in page.splitlines() if line.startswith("forebay_cache_admissions_total{")]
            if sum(float(line.rsplit(" ", 1)[1]) for line in kept) >= count:
                return
            await asyncio.sleep(0.005)
