"""What one tenant can make a gateway remember, and what that costs the others: counts, not times."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

from gateway.hops.coalesce import Coalesce
from gateway.refresh import Refresher
from semantic_cache.store.open import open_store
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.upstream import ScriptedUpstream

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}"}}
models:
  "*": {{upstream: up}}
cache: {{store: "{store}", semantic: null, max_entries: {entries}}}
tenants: {tenants}
"""
ENTRIES = 60


async def send(gateway: RunningGateway, who: str, body: dict[str, Any], **headers: str) -> str:
    async with gateway.post(body=body, **bearer(key_of(who)), **headers) as response:
        assert response.status == 200, await response.text()
        verdict: str = response.headers["x-forebay-cache"]
        return verdict


async def series(gateway: RunningGateway) -> int:
    async with gateway.get("/metrics") as response:
        return len([line for line in (await response.text()).splitlines() if not line.startswith("#")])


def flood(number: int) -> dict[str, Any]:
    """A request of which nothing has been heard: question, model, namespace and an unknown field."""
    return chat(
        f"model-{number}",
        messages=[{"role": "user", "content": f"question {number}"}],
        cache={"namespace": f"n{number}"},
        **{f"field_{number}": number},
    )


async def test_a_flood_of_keys_is_bounded_and_leaves_the_others_their_answers(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    url = f"sqlite://{tmp_path}/cache.db"
    tenants = json.dumps([tenant("small"), tenant("flood")])
    yaml = CONFIG.format(url=upstream.base_url, store=url, entries=ENTRIES, tenants=tenants)
    mine = [chat(messages=[{"role": "user", "content": f"mine {n}"}]) for n in range(10)]
    async with running_gateway(yaml, tmp_path, cached=True) as gateway:
        for body in mine:
            assert await send(gateway, "small", body) == "miss"
        counted = []
        for start in range(0, 600, 50):
            tags = ", ".join(f"t{start}-{n}" for n in range(16))
            verdicts = await asyncio.gather(
                *(
                    send(gateway, "flood", flood(number), x_forebay_cache_tags=tags)
                    for number in range(start, start + 50)
                )
            )
            assert set(verdicts) == {"miss"}
            counted.append(await series(gateway))
        # Names of a client's invention share one label; what is added is words of our own, such as `evicted`.
        assert counted[-1] - counted[0] < 5
        store = open_store(url)
        async with asyncio.timeout(20):
            while (held := (await store.stats()).entries) > ENTRIES:
                await asyncio.sleep(0.01)
        assert held <= ENTRIES
        assert len([kept async for kept in store.scan("small")]) == len(mine)
        await store.close()
        assert {await send(gateway, "small", body) for body in mine} == {"hit-exact"}
        # Nothing is left of requests that are over.
        coalescing = [one for one in gc.get_objects() if type(one) is Coalesce]
        assert coalescing
        async with asyncio.timeout(20):
            # A call takes passengers until the store has its answer.
            while any(len(one._flights) for one in coalescing):
                await asyncio.sleep(0.01)
        refreshing = [one for one in gc.get_objects() if type(one) is Refresher]
        assert refreshing and not any(one._under_way for one in refreshing)
