"""The semantic tier as a client sees it: what it answers, how, for whom, and what never."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from router.policy.learned import save
from tests.gateway.support.running import chat, running_gateway
from tests.gateway.support.semantic_tier import (
    NEAR,
    REORDERED,
    STORED,
    Tier,
    feed_back,
    running_semantic,
    running_tier,
)
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.two_models import BY_ANSWER, TWO_MODELS
from tests.gateway.support.upstream import ScriptedUpstream, begin_stream, chunk, completion, json_reply


@pytest.fixture
async def tier(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[Tier]:
    async with running_tier(tmp_path, upstream, traced=True) as tier:
        yield tier


async def test_other_words_for_the_same_are_a_hit_with_a_fresh_id(tier: Tier) -> None:
    tier.upstream.reply = json_reply(completion("Paris."))
    _, first = await tier.ask(STORED)
    await tier.semantic.until(1)
    headers, second = await tier.ask(REORDERED)
    assert headers["x-forebay-cache"] == "hit-semantic"
    assert float(headers["x-forebay-similarity"]) > 0.99
    assert headers["age"] == "0"
    assert headers["cache-status"].startswith("Forebay; hit; ttl=")
    assert headers["cache-status"].endswith("detail=semantic")
    assert (headers["x-forebay-attempts"], headers["x-forebay-cost-usd"]) == ("0", "0")
    assert second["id"] != first["id"] and second["choices"] == first["choices"]
    assert len(tier.upstream.received) == 1
    record = await tier.gateway.settled(headers["x-forebay-request-id"])
    assert (record["cache"], record["attempts"], record["cost_usd"]) == ("hit-semantic", 0, 0)
    assert await tier.metric("forebay_cache_requests_total", verdict="hit-semantic") == 1
    assert await tier.metric("forebay_semantic_decisions_total", action="serve") == 1
    assert await tier.metric("forebay_semantic_saved_usd_total", mode="serve") == 12.0


async def test_the_span_has_every_gates_verdict_and_no_content(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    await tier.ask("what is not the capital of France")
    await tier.ask(REORDERED)
    spans = [span for span in tier.gateway.spans if span.name == "cache.semantic"]
    empty, refused, served = [span.attributes for span in spans]
    assert (empty["forebay.semantic.action"], empty["forebay.semantic.reason"]) == ("miss", "no_candidates")
    assert refused["forebay.semantic.gates"] == ["0 negation refused"]
    assert served["forebay.semantic.gates"] == ["0 negation passed"]
    assert served["forebay.semantic.action"] == "serve" and served["forebay.semantic.similarity"] > 0.99
    steps = [step.split()[0] for step in served["forebay.semantic.steps"]]
    assert steps == ["semantic", "embed", "search", "gates", "candidates", "decide", "reread"]
    assert not any("capital" in str(span.attributes) for span in tier.gateway.spans)


async def test_the_time_it_took_is_in_the_headers(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    missed, _ = await tier.ask("who baked the bread")
    served, _ = await tier.ask(REORDERED)
    exact, _ = await tier.ask(STORED)
    assert {"semantic", "embed", "search"} <= timed(missed).keys()
    assert "reread" in timed(served)
    steps = ("embed", "search", "gates", "candidates", "decide")
    assert sum(timed(served)[step] for step in steps) <= timed(served)["semantic"]
    assert timed(exact).keys() == {"upstream", "overhead"}


def timed(headers: Mapping[str, str]) -> dict[str, float]:
    parts = (part.strip().split(";dur=") for part in headers["server-timing"].split(","))
    return {name: float(value) for name, value in parts}


async def test_a_hit_is_streamed_to_who_streams(tier: Tier) -> None:
    tier.upstream.reply = json_reply(completion("Paris, on the Seine."))
    await tier.ask(STORED)
    await tier.semantic.until(1)
    body = chat(
        messages=[{"role": "user", "content": REORDERED}],
        stream=True,
        stream_options={"include_usage": True},
    )
    async with tier.gateway.post(body=body) as response:
        raw = await response.read()
        assert response.headers["x-forebay-cache"] == "hit-semantic"
        assert response.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith(b"data: {")]
    text = "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])
    assert text == "Paris, on the Seine." and raw.endswith(b"data: [DONE]\n\n")
    assert [event["usage"]["total_tokens"] for event in events if event["usage"]] == [12]
    assert len({event["id"] for event in events}) == 1


async def test_what_was_streamed_serves_who_does_not_stream(tier: Tier) -> None:
    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        for event in (chunk({"role": "assistant", "content": ""}), chunk({"content": "Paris"})):
            await response.write(event)
        await response.write(chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 1}))
        await response.write(b"data: [DONE]\n\n")
        return response

    tier.upstream.reply = reply
    body = chat(messages=[{"role": "user", "content": STORED}], stream=True)
    async with tier.gateway.post(body=body) as response:
        await response.read()
    await tier.semantic.until(1)
    headers, answer = await tier.ask(REORDERED)
    assert headers["x-forebay-cache"] == "hit-semantic"
    assert answer["choices"][0]["message"]["content"] == "Paris"


async def test_those_who_ask_the_same_at_once_share_the_hit_and_are_all_told(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    looks = await tier.metric("forebay_semantic_calls_total", outcome="answered")
    answers = await asyncio.gather(*(tier.ask(REORDERED) for _ in range(8)))
    assert {headers["x-forebay-cache"] for headers, _ in answers} == {"hit-semantic"}
    assert len(tier.upstream.received) == 1
    assert await tier.metric("forebay_semantic_calls_total", outcome="answered") < looks + 8


async def test_nobody_follows_one_who_demands_less(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    verdicts = await asyncio.gather(
        *(tier.verdict(NEAR) for _ in range(4)),
        *(tier.verdict(NEAR, x_forebay_cache_threshold="0.9999") for _ in range(4)),
    )
    assert set(verdicts[:4]) == {"hit-semantic"}
    assert set(verdicts[4:]) <= {"miss", "coalesced"}


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"temperature": 0.5},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": REORDERED}]},
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": REORDERED},
            ]
        },
        {"response_format": {"type": "json_object"}},
        {"max_tokens": 5},
        {"unknown_field": 1},
        {"messages": [{"role": "user", "content": REORDERED, "name": "eve"}]},
        {"messages": [{"role": "assistant", "content": REORDERED}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": REORDERED}] * 2}]},
        {"cache": {"namespace": "n"}},
    ],
)
async def test_another_scope_is_another_world(tier: Tier, change: dict[str, Any]) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    body = {**chat(messages=[{"role": "user", "content": REORDERED}]), **change}
    headers, _ = await tier.send(body)
    assert headers["x-forebay-cache"] == "miss"
    assert await tier.verdict(NEAR) == "hit-semantic"


async def test_two_tenants_never_share(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    tenants = [tenant("acme"), tenant("globex")]

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        # A canary in every answer: whose question it was.
        return web.json_response(text=completion(f"secret of {len(upstream.received)}").decode())

    upstream.reply = reply
    async with running_tier(tmp_path, upstream, tenants=tenants) as tier:
        acme, globex = bearer(key_of("acme")), bearer(key_of("globex"))
        while not await tier.metric("forebay_semantic_calls_total", outcome="answered"):
            await tier.ask("is anybody there", cache_control="no-store", **acme)
        _, first = await tier.ask(STORED, **acme)
        await tier.semantic.until(1)
        for text in (STORED, REORDERED, NEAR):
            headers, answer = await tier.ask(text, **globex)
            assert headers["x-forebay-cache"] in ("miss", "hit-semantic")
            assert answer["choices"] != first["choices"]
        headers, answer = await tier.ask(REORDERED, **acme)
        assert headers["x-forebay-cache"] == "hit-semantic"
        assert answer["choices"] == first["choices"]
        # Nor does one tenant judge another's answers.
        request_id = headers["x-forebay-request-id"]
        assert (await feed_back(tier, request_id, {"good": False}, **globex))[0] == 404
        assert await tier.verdict(REORDERED, **acme) == "hit-semantic"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("what is the latest capital of France", "time_bound"),
        ("Wie ist das Wetter heute", "time_bound"),
        ("x " * 600, "too_long"),
        ([{"type": "image_url", "image_url": {"url": "data:,"}}], "not_text"),
    ],
)
async def test_what_it_has_nothing_to_do_with_is_counted_by_a_word(tier: Tier, text: Any, word: str) -> None:
    await tier.ask(text)
    assert await tier.metric("forebay_semantic_decisions_total", action="skip", reason=word) == 1
    await tier.ask(STORED)
    await tier.semantic.until(1)


async def test_questions_with_tools_are_left_out_unless_the_configuration_admits_them(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]

    def body(text: str) -> dict[str, Any]:
        return chat(messages=[{"role": "user", "content": text}], tools=tools)

    admit = ", admit: {tools: true, time_bound: true, refusals: true}"
    for more, word in (("", "miss"), (admit, "hit-semantic")):
        folder = tmp_path / word
        folder.mkdir()
        async with running_tier(folder, upstream, more=more) as tier:
            await tier.send(body(STORED))
            await tier.until(1, "forebay_cache_admissions_total", outcome="stored")
            await tier.semantic.until(1 if more else 0)
            headers, _ = await tier.send(body(REORDERED))
            assert headers["x-forebay-cache"] == word
            if more:
                upstream.reply = json_reply(completion("I'm sorry, I can't help with that."))
                await tier.ask("what is new today")
                await tier.semantic.until(2)


async def test_a_refusal_answers_its_own_question_alone(tier: Tier) -> None:
    tier.upstream.reply = json_reply(completion("I'm sorry, but I can't help with that."))
    await tier.ask(STORED)
    await tier.until(1, "forebay_cache_admissions_total", outcome="stored")
    assert await tier.metric("forebay_semantic_admissions_total", outcome="refusal") == 1
    assert await tier.verdict(STORED) == "hit-exact"
    assert await tier.verdict(REORDERED) == "miss"


async def test_a_truncated_answer_is_nobodys(tier: Tier) -> None:
    cut = json.loads(completion("Par"))
    cut["choices"][0]["finish_reason"] = "length"
    tier.upstream.reply = json_reply(json.dumps(cut).encode())
    await tier.ask(STORED)
    await tier.until(1, "forebay_cache_admissions_total", outcome="length")
    assert await tier.verdict(REORDERED) == "miss"


async def test_the_threshold_of_a_request_tightens_and_nonsense_is_refused(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    assert await tier.verdict(NEAR, x_forebay_cache_threshold="0.9999") == "miss"
    assert await tier.verdict("where is the tower", x_forebay_cache_threshold="0.1") == "miss"
    assert await tier.verdict(REORDERED, x_forebay_cache_threshold="0.1") == "hit-semantic"
    for nonsense in ("1.5", "nan", "-1", "high", ""):
        async with tier.gateway.post(x_forebay_cache_threshold=nonsense) as response:
            assert response.status == 400
            assert (await response.json())["error"]["param"] == "x-forebay-cache-threshold"


async def test_what_has_gone_from_the_store_is_a_miss_whatever_the_process_says(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    # The process hears nothing more, as if it lagged: frozen while the store changes.
    process = tier.semantic.process.process.pid
    os.kill(process, signal.SIGSTOP)
    asked = asyncio.create_task(tier.verdict(REORDERED))
    await tier.semantic.store.purge("default", lambda epochs: epochs.purged())
    os.kill(process, signal.SIGCONT)
    assert await asked == "miss"


async def test_a_stale_answer_serves_its_own_question_alone(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async with running_tier(tmp_path, upstream) as tier:
        await tier.ask(STORED)
        await tier.semantic.until(1)
        assert await tier.verdict(REORDERED, cache_control="max-age=0") == "miss"
        assert await tier.verdict(REORDERED, cache_control="min-fresh=999999") in ("miss", "hit-exact")
        assert await tier.verdict(NEAR, cache_control="no-cache") == "miss"


async def test_answers_are_purged_by_the_tags_that_their_requests_gave(tier: Tier) -> None:
    await tier.ask(STORED, x_forebay_cache_tags="geo, v1")
    await tier.ask("who baked the bread", x_forebay_cache_tags="food")
    await tier.semantic.until(2)
    await tier.semantic.store.purge(None, lambda epochs: epochs.purged(tag="geo"))
    assert await tier.verdict(STORED) == "miss"
    assert await tier.verdict("who baked the bread") == "hit-exact"
    async with tier.gateway.post(x_forebay_cache_tags="not a tag") as response:
        assert response.status == 400


async def test_an_answer_under_way_while_everything_is_purged_is_dead_when_it_comes(tier: Tier) -> None:
    purged = asyncio.Event()

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        await purged.wait()
        return web.json_response(text=completion("old").decode())

    tier.upstream.reply = reply
    tier.upstream.arrived.clear()
    asked = asyncio.create_task(tier.ask(STORED))
    await tier.upstream.arrived.wait()
    await tier.semantic.store.purge("default", lambda epochs: epochs.purged())
    purged.set()
    await asked
    await tier.until(1, "forebay_cache_admissions_total", outcome="stored")
    assert await tier.verdict(STORED) == "miss"


async def test_a_request_of_our_own_gets_no_answer_of_another_question(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Whether an answer is right is asked in nearly the same words, whatever the answer."""
    checked: list[str] = []

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        first, last = json.loads(received)["messages"]
        if "Is the answer right?" in last["content"]:
            checked.append(last["content"])
        return await json_reply(completion("yes" if checked[-1:] == [last["content"]] else first["content"]))(
            request, received
        )

    upstream.reply = reply
    save(BY_ANSWER, tmp_path / "policy.json")
    async with running_semantic(tmp_path) as semantic:
        yaml = TWO_MODELS.format(
            near=upstream.base_url, far=upstream.base_url, policy=tmp_path / "policy.json",
            small="", large="", route=", self_check: true",
        )  # fmt: skip
        cache = f"{{store: '{semantic.url}', semantic: {{deadline_ms: 20000, error_budget: 0.5}}}}"
        yaml += f"cache: {cache}\n"
        async with running_gateway(yaml, tmp_path, cached=True, semantic=str(semantic.socket)) as gateway:
            tier = Tier(gateway, semantic, upstream)
            answers = ("First heat the water, then add the salt.", "First add the salt, then heat the water.")
            for answer in answers:
                # Each system prompt is a scope of its own, so the question itself comes from no cache.
                messages = [{"role": "system", "content": answer}, {"role": "user", "content": "How?"}]
                await tier.send(chat("auto", messages=messages))
                await tier.until(1, "forebay_semantic_admissions_total", outcome="stored")
                held = int(await tier.metric("forebay_semantic_admissions_total", outcome="stored"))
                await semantic.until(held)
    assert len(checked) == 2
