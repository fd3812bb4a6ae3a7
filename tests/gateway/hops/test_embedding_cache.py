"""Embeddings are cached item by item, and only unknown items go to the upstream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from semantic_cache.store.open import open_store
from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import RunningGateway
from tests.gateway.support.upstream import ScriptedUpstream, json_reply

PATH = "/v1/embeddings"


async def embed(request: web.Request, body: bytes) -> web.StreamResponse:
    """Answer as OpenAI does: a vector that tells which text it is of; in reverse order, as is allowed."""
    asked = json.loads(body)
    items = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [
        {"object": "embedding", "index": at, "embedding": [float(len(text)), 0.125, ord(text[0])]}
        for at, text in enumerate(items)
    ]
    usage = {"prompt_tokens": len(items), "total_tokens": len(items)}
    reply = {"object": "list", "data": data[::-1], "model": "embedder-1", "usage": usage}
    return web.json_response(reply)


@pytest.fixture(autouse=True)
def embedder(upstream: ScriptedUpstream) -> None:
    upstream.reply = embed


async def vectors(gateway: RunningGateway, value: Any, **more: Any) -> tuple[str, list[list[float]]]:
    async with gateway.post(PATH, {"model": "m", "input": value, **more}) as response:
        assert response.status == 200, await response.text()
        answer = await response.json()
        by_index = sorted(answer["data"], key=lambda item: item["index"])
        assert [item["index"] for item in by_index] == list(range(len(by_index)))
        return response.headers["x-forebay-cache"], [item["embedding"] for item in by_index]


def asked(upstream: ScriptedUpstream) -> list[Any]:
    return [json.loads(received.body)["input"] for received in upstream.received]


async def test_a_known_text_is_not_asked_for_again_alone_or_in_a_list(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    first = await vectors(gateway, "water")
    assert first == ("miss", [[5.0, 0.125, 119]])
    await until_kept(gateway)
    assert await vectors(gateway, "water") == ("hit-exact", first[1])
    assert await vectors(gateway, ["water"]) == ("hit-exact", first[1])
    assert asked(upstream) == ["water"]


async def test_only_unknown_items_of_a_list_go_to_the_upstream_and_order_is_kept(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await vectors(gateway, ["lock", "gate"])
    await until_kept(gateway, 2)
    verdict, mixed = await vectors(gateway, ["a", "gate", "bcd", "lock", "ef"])
    assert verdict == "miss"
    assert [(v[0], chr(int(v[2]))) for v in mixed] == [
        (1.0, "a"),
        (4.0, "g"),
        (3.0, "b"),
        (4.0, "l"),
        (2.0, "e"),
    ]
    assert asked(upstream) == [["lock", "gate"], ["a", "bcd", "ef"]]


async def test_another_format_or_model_is_another_item(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await vectors(gateway, "water")
    await until_kept(gateway)
    assert (await vectors(gateway, "water", dimensions=2))[0] == "miss"
    assert (await vectors(gateway, "water", encoding_format="float"))[0] == "miss"


async def test_a_failure_is_passed_on_and_not_kept(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = json_reply(b'{"error":{"message":"no","type":"x","param":null,"code":null}}', 500)
    async with gateway.post(PATH, {"model": "m", "input": "water"}) as response:
        assert response.status == 500
    upstream.reply = embed
    assert (await vectors(gateway, "water"))[0] == "miss"


async def test_an_upstream_that_answers_too_little_is_not_believed(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await vectors(gateway, "lock")
    await until_kept(gateway)
    upstream.reply = json_reply(b'{"object":"list","data":[],"model":"e"}')
    async with gateway.post(PATH, {"model": "m", "input": ["lock", "gate"]}) as response:
        assert response.status == 502
        assert (await response.json())["error"]["code"] == "upstream_invalid_response"


async def test_vectors_are_purged_and_kept_anew_afterwards(
    gateway: RunningGateway, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    await vectors(gateway, "water")
    await until_kept(gateway)
    store = open_store(f"sqlite://{tmp_path}/cache.db")
    await store.purge("default", lambda epochs: epochs.purged())
    await store.close()
    assert (await vectors(gateway, "water"))[0] == "miss"
    await until_kept(gateway, 2)
    assert (await vectors(gateway, "water"))[0] == "hit-exact"
