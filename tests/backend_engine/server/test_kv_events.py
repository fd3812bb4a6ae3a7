"""A router follows the prefix cache over HTTP, and never keeps the engine from stopping."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from backend_engine.kv.hashing import chain_root, extend_chain
from tests.support.engine_process import running_engine

PATH = "/internal/kv-events"


async def event(response: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """Return the next event's name and data."""
    async with asyncio.timeout(20):
        raw = await response.content.readuntil(b"\n\n")
    name, data = raw.decode().strip().split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def hashes_of(token_ids: list[int], salt: str) -> list[str]:
    names: list[bytes] = []
    extend_chain(names, chain_root(salt), token_ids, 16)
    return [name.hex() for name in names]


async def test_a_reader_sees_prefixes_come_and_go_and_the_engine_stop(
    smollm2_path: Path, tmp_path: Path
) -> None:
    # 22 blocks of pool: a second long prompt pushes the first out.
    options = {"model_name": "smollm2", "kv_memory_mb": 8}
    context = running_engine(smollm2_path, tmp_path / "log", **options)
    url = await asyncio.to_thread(context.__enter__)
    prompt = list(range(1000, 1200))
    async with aiohttp.ClientSession(url) as http:

        async def complete(ids: list[int]) -> None:
            body = {"model": "smollm2", "prompt": ids, "max_tokens": 1}
            async with http.post("/v1/completions", json=body, headers={"x-forebay-salt": "t"}) as response:
                assert response.status == 200

        async with http.get(PATH) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert await event(response) == ("snapshot", {"block_size": 16, "hashes": []})
            await complete(prompt)
            assert await event(response) == (
                "stored",
                {"block_size": 16, "hashes": hashes_of(prompt, "t")},
            )
            async with http.get(PATH) as late:
                name, data = await event(late)
                assert (name, set(data["hashes"])) == ("snapshot", set(hashes_of(prompt, "t")))
            await complete(list(range(2000, 2200)))
            name, data = await event(response)
            assert name == "removed"
            # The end of a prefix goes before its beginning.
            assert set(data["hashes"]) <= set(hashes_of(prompt, "t")[1:])

            # Asserts that the engine leaves in time, though this stream is open.
            stopping = asyncio.to_thread(context.__exit__, None, None, None)
            _, rest = await asyncio.gather(stopping, response.content.read())
            assert b"event: lag" not in rest
