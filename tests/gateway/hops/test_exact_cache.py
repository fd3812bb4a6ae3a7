"""The exact cache as a client sees it: what is answered from it, how, and what never is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.support.cached import CONFIG, until_kept
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import (
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    completion,
    json_reply,
    stream_reply,
)


async def ask(
    gateway: RunningGateway, body: dict[str, Any] | None = None, **headers: str
) -> tuple[dict[str, str], Any]:
    """POST and return headers (lower case) and the parsed answer."""
    async with gateway.post(body=body or chat(), **headers) as response:
        assert response.status == 200, await response.text()
        return {k.lower(): v for k, v in response.headers.items()}, await response.json(content_type=None)


async def stored(gateway: RunningGateway, body: dict[str, Any] | None = None) -> None:
    """Ask, and wait until the answer can be had from the cache."""
    await ask(gateway, body)
    await until_kept(gateway)


async def text_of(gateway: RunningGateway, body: dict[str, Any], **headers: str) -> tuple[str, str, bytes]:
    """Stream an answer; returns verdict, text and the raw bytes."""
    async with gateway.post(body=body, **headers) as response:
        assert response.status == 200
        raw = await response.read()
        text = ""
        for line in raw.splitlines():
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
        return response.headers["x-forebay-cache"], text, raw


async def test_the_second_time_is_a_hit_with_a_fresh_id_and_no_cost(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    first_headers, first = await ask(gateway)
    assert first_headers["x-forebay-cache"] == "miss"
    assert first_headers["cache-status"] == "Forebay; fwd=miss"
    await until_kept(gateway)
    headers, second = await ask(gateway)
    assert headers["x-forebay-cache"] == "hit-exact"
    assert headers["cache-status"].startswith("Forebay; hit; ttl=")
    assert headers["age"] == "0"
    assert headers["x-forebay-attempts"] == "0"
    assert float(headers["x-forebay-cost-usd"]) == 0
    assert second["id"] != first["id"]
    assert second["choices"] == first["choices"]
    assert second["usage"] == first["usage"]
    assert len(upstream.received) == 1
    record = await gateway.settled(headers["x-forebay-request-id"])
    assert (record["cache"], record["attempts"], record["cost_usd"]) == ("hit-exact", 0, 0)


async def test_key_order_and_white_space_do_not_count_but_content_does(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await stored(gateway)
    same = b'{ "messages" : [{"content":"H\\u0069","role":"user"}],\n"model":"m" }'
    async with gateway.post(body=same) as response:
        assert response.headers["x-forebay-cache"] == "hit-exact"
    for other in (
        chat(messages=[{"role": "user", "content": "hi"}]),
        chat(temperature=0),
        chat(max_tokens=5),
        chat(unknown_field=1),
    ):
        headers, _ = await ask(gateway, other)
        assert headers["x-forebay-cache"] == "miss"
    assert len(upstream.received) == 5


async def test_a_stored_answer_serves_streams_and_a_stored_stream_serves_json(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await stored(gateway)
    verdict, text, raw = await text_of(gateway, chat(stream=True))
    assert (verdict, text) == ("hit-exact", "Hello!")
    assert raw.endswith(b"data: [DONE]\n\n")
    assert b"usage" not in raw

    upstream.reply = stream_reply()
    question = chat(messages=[{"role": "user", "content": "stream"}])
    verdict, text, _ = await text_of(gateway, {**question, "stream": True})
    assert (verdict, text) == ("miss", "Grüße 🌊")
    await until_kept(gateway, 2)
    headers, answer = await ask(gateway, question)
    assert headers["x-forebay-cache"] == "hit-exact"
    assert answer["choices"][0]["message"]["content"] == "Grüße 🌊"
    assert answer["usage"]["total_tokens"] == 12, "counted although the client had not asked for usage"
    with_usage = {**question, "stream": True, "stream_options": {"include_usage": True}}
    verdict, text, raw = await text_of(gateway, with_usage)
    assert (verdict, text) == ("hit-exact", "Grüße 🌊")
    assert b'"total_tokens":12' in raw.replace(b" ", b"")


@pytest.mark.parametrize(
    "reply",
    [
        json_reply(b'{"error":{"message":"no","type":"x","param":null,"code":null}}', 500),
        json_reply(b'{"error":{"message":"no","type":"x","param":null,"code":null}}', 429),
        json_reply(completion().replace(b'"stop"', b'"length"')),
        json_reply(completion().replace(b'"stop"', b'"tool_calls"')),
        json_reply(completion(text="")),
    ],
    ids=["500", "429", "length", "tool-calls", "empty"],
)
async def test_what_is_not_a_complete_answer_is_not_stored(
    gateway: RunningGateway, upstream: ScriptedUpstream, reply: Any
) -> None:
    upstream.reply = reply
    for _ in range(2):
        async with gateway.post() as response:
            await response.read()
            assert response.headers["x-forebay-cache"] == "miss"
    assert len(upstream.received) == 2


async def test_a_stream_that_its_client_left_is_not_stored(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    hold = asyncio.Event()

    async def stalls(request: Any, body: bytes) -> Any:
        response = await begin_stream(request)
        await response.write(EVENTS[0] + EVENTS[1])
        await hold.wait()
        return response

    upstream.reply = stalls
    response = await gateway.post(body=chat(stream=True))
    await response.content.readany()
    response.close()
    await asyncio.wait_for(upstream.left.wait(), 10)
    hold.set()
    upstream.reply = stream_reply()
    verdict, text, _ = await text_of(gateway, chat(stream=True))
    assert (verdict, text) == ("miss", "Grüße 🌊")


async def test_no_cache_asks_anew_and_refreshes_the_entry(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await stored(gateway)
    upstream.reply = json_reply(completion("New!"))
    headers, answer = await ask(gateway, cache_control="no-cache")
    assert headers["cache-status"] == "Forebay; fwd=request"
    assert answer["choices"][0]["message"]["content"] == "New!"
    await until_kept(gateway, 2)
    headers, answer = await ask(gateway)
    assert headers["x-forebay-cache"] == "hit-exact"
    assert answer["choices"][0]["message"]["content"] == "New!"


async def test_no_store_keeps_nothing(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    for _ in range(2):
        headers, _ = await ask(gateway, cache_control="no-store")
        assert headers["x-forebay-cache"] == "miss"
    assert len(upstream.received) == 2


async def test_only_if_cached_never_asks_the_upstream(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async with gateway.post(cache_control="only-if-cached") as response:
        assert response.status == 504
        assert (await response.json())["error"]["code"] == "not_in_cache"
    assert not upstream.received
    await stored(gateway)
    headers, _ = await ask(gateway, cache_control="only-if-cached")
    assert headers["x-forebay-cache"] == "hit-exact"


async def test_litellms_body_form_is_understood_and_taken_out(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await ask(gateway, chat(cache={"no-store": True}))
    assert b"cache" not in upstream.received[0].body
    headers, _ = await ask(gateway, chat(cache={"ttl": 60}))
    assert headers["x-forebay-cache"] == "miss", "the first one was not to be stored"
    await until_kept(gateway)
    headers, _ = await ask(gateway)
    assert headers["x-forebay-cache"] == "hit-exact"
    headers, _ = await ask(gateway, chat(cache={"no-cache": True}))
    assert headers["x-forebay-cache"] == "miss"


@pytest.mark.parametrize(
    ("body", "header", "param"),
    [
        (chat(cache={"ttl": "soon"}), {}, "cache.ttl"),
        (chat(cache={"tll": 1}), {}, "cache.tll"),
        (chat(), {"x_forebay_cache_ttl": "soon"}, "x-forebay-cache-ttl"),
        (chat(), {"cache_control": "max-age=x"}, "cache-control: max-age"),
    ],
)
async def test_a_bad_instruction_is_refused_by_name(
    gateway: RunningGateway, body: dict[str, Any], header: dict[str, str], param: str
) -> None:
    async with gateway.post(body=body, **header) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


async def test_several_choices_go_past_the_cache(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    for _ in range(2):
        headers, _ = await ask(gateway, chat(n=2))
        assert headers["x-forebay-cache"] == "bypass"
        assert headers["cache-status"] == "Forebay; fwd=bypass; detail=choices"
    assert len(upstream.received) == 2


async def test_sampled_answers_are_fetched_anew_if_so_configured(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    config = CONFIG.format(url=upstream.base_url)
    config += f"cache: {{sampled: off, store: 'sqlite://{tmp_path}/c.db'}}\n"
    async with running_gateway(config, tmp_path, cached=True) as gateway:
        headers, _ = await ask(gateway, chat(temperature=0.7))
        assert headers["cache-status"] == "Forebay; fwd=bypass; detail=sampled"
        await stored(gateway, chat(temperature=0))
        headers, _ = await ask(gateway, chat(temperature=0))
        assert headers["x-forebay-cache"] == "hit-exact"


@pytest.mark.parametrize("body", [chat(), chat(cache={"namespace": "mine"})])
async def test_a_stale_answer_is_served_while_a_new_one_is_fetched(
    upstream: ScriptedUpstream, tmp_path: Path, body: dict[str, Any]
) -> None:
    config = CONFIG.format(url=upstream.base_url)
    # What expires at once is stale at once.
    config += f"cache: {{ttl_s: 0.001, stale_s: 600, store: 'sqlite://{tmp_path}/c.db'}}\n"
    async with running_gateway(config, tmp_path, cached=True) as gateway:
        await stored(gateway, body)
        release = asyncio.Event()

        async def late(request: Any, sent: bytes) -> Any:
            await release.wait()
            return await json_reply(completion("New!"))(request, sent)

        upstream.reply = late
        upstream.arrived.clear()
        headers, answer = await ask(gateway, body)
        assert headers["x-forebay-cache"] == "stale"
        assert headers["cache-status"].startswith("Forebay; hit; ttl=-")
        assert answer["choices"][0]["message"]["content"] == "Hello!"
        # The caller is gone; its refresh goes on.
        await asyncio.wait_for(upstream.arrived.wait(), 10)
        await ask(gateway, body)
        assert len(upstream.received) == 2, "a refresh that is under way is not doubled"
        release.set()
        await until_kept(gateway, 2)
        _, answer = await ask(gateway, body)
        assert answer["choices"][0]["message"]["content"] == "New!"


async def test_a_store_that_fails_costs_hits_and_nothing_else(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    config = CONFIG.format(url=upstream.base_url)
    config += "cache: {store: 'redis://127.0.0.1:1/0'}\n"
    async with running_gateway(config, tmp_path, cached=True) as gateway:
        for _ in range(3):
            headers, answer = await ask(gateway)
            assert headers["x-forebay-cache"] == "bypass"
            assert headers["cache-status"] == "Forebay; fwd=bypass; detail=store_unavailable"
            assert answer["choices"][0]["message"]["content"] == "Hello!"
        async with gateway.get("/metrics") as response:
            assert 'forebay_cache_store_events_total{event="unavailable"}' in await response.text()
    assert len(upstream.received) == 3


async def test_tenants_do_not_share_answers(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    import hashlib

    keys = {name: f"fb-{name}-0123456789abcdef0123456789abcdef01234567" for name in ("a", "b")}
    tenants = ", ".join(
        f"{{name: {name}, key_hash: 'sha256:{hashlib.sha256(key.encode()).hexdigest()}'}}"
        for name, key in keys.items()
    )
    config = CONFIG.format(url=upstream.base_url) + f"tenants: [{tenants}]\n"
    async with running_gateway(config, tmp_path, cached=True) as gateway:
        verdicts = []
        for name in ("a", "b", "a"):
            headers, _ = await ask(gateway, authorization=f"Bearer {keys[name]}")
            verdicts.append(headers["x-forebay-cache"])
            await until_kept(gateway, min(2, len(verdicts)))
        assert verdicts == ["miss", "miss", "hit-exact"]


async def test_a_header_that_the_upstream_sees_is_part_of_the_question(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    await stored(gateway)
    headers, _ = await ask(gateway, openai_beta="assistants=v2")
    assert headers["x-forebay-cache"] == "miss"
    assert upstream.received[-1].headers["openai-beta"] == "assistants=v2"
    await until_kept(gateway, 2)
    assert (await ask(gateway, openai_beta="assistants=v2"))[0]["x-forebay-cache"] == "hit-exact"
    assert (await ask(gateway, x_unknown="1"))[0]["x-forebay-cache"] == "hit-exact"
