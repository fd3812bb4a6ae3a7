"""The semantic tier as a client sees it: what it answers, how, for whom, and what never."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from semantic_cache.semantic.launcher import SemanticOptions, launch
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.upstream import ScriptedUpstream, begin_stream, chunk, completion, json_reply
from tests.semantic_cache.support.semantic_process import MODULE, PATIENT_S, Semantic, running_semantic

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

    async def until_connected(self) -> None:
        """Wait until the gateway's own end of the socket is up."""
        async with asyncio.timeout(PATIENT_S):
            while await self.metric("forebay_semantic_calls_total", outcome="answered") < 1:
                await self.ask(f"is anybody there {os.urandom(8).hex()}", cache_control="no-store")
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
    traced: bool = False,
) -> AsyncIterator[Tier]:
    async with running_semantic(folder) as semantic:
        yaml = CONFIG.format(
            url=upstream.base_url,
            store=semantic.url,
            mode=mode,
            more=more,
            deadline_ms=deadline_ms,
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
            yield tier


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
    assert not any("capital" in str(span.attributes) for span in tier.gateway.spans)


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


async def test_observe_serves_nothing_and_reports_what_it_would_have(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.reply = json_reply(completion("Paris."))
    async with running_tier(tmp_path, upstream, mode="observe", traced=True) as tier:
        await tier.ask(STORED)
        await tier.semantic.until(1)
        headers, _ = await tier.ask(REORDERED)
        assert headers["x-forebay-cache"] == "miss" and "x-forebay-similarity" not in headers
        assert len(upstream.received) == 2
        assert await tier.metric("forebay_semantic_decisions_total", action="would_serve") == 1
        assert await tier.metric("forebay_semantic_saved_usd_total", mode="observe") == 12.0
        # Whether it would have been right is found out as well.
        await tier.until(1, "forebay_semantic_labels_total", source="answers", label="same")
        span = [span for span in tier.gateway.spans if span.name == "cache.semantic"][-1]
        assert span.attributes["forebay.semantic.action"] == "would_serve"
        assert span.attributes["forebay.semantic.saved_usd"] == 12.0


async def test_a_fresh_answer_teaches_the_entry_that_was_explored(tier: Tier) -> None:
    tier.upstream.reply = json_reply(completion("Paris."))
    await tier.ask(STORED)
    await tier.semantic.until(1)
    assert await tier.verdict(NEAR, cache_control="no-store") == "hit-semantic"
    tier.upstream.reply = json_reply(completion("Something else altogether, namely a republic."))
    assert await tier.verdict(UNSURE) == "miss"
    await tier.until(1, "forebay_semantic_labels_total", source="answers", label="different")
    # The label counts against the entry from now on.
    assert await tier.verdict(NEAR, cache_control="no-store") == "miss"


async def test_a_judge_is_asked_where_nothing_simpler_can_tell(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        if body["model"] == "judge":
            asked.append(body)
            return web.json_response(text=completion("No.").decode())
        said = "It is a town on the river with a bridge"
        if "republic" in body["messages"][-1]["content"]:
            said = "A bridge is in the town on the lake"
        return web.json_response(text=completion(said).decode())

    upstream.reply = reply
    async with running_tier(tmp_path, upstream, more=", judge: judge") as tier:
        await tier.ask(STORED)
        await tier.semantic.until(1)
        await tier.ask(UNSURE)
        await tier.until(1, "forebay_semantic_labels_total", source="judge", label="different")
        assert "on the lake" in asked[0]["messages"][1]["content"]
        assert "on the river" in asked[0]["messages"][1]["content"]


async def test_a_process_that_is_gone_costs_hits_and_nothing_else(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    tier.semantic.process.process.kill()
    await tier.semantic.process.wait()
    assert await tier.verdict(REORDERED) == "miss"
    assert await tier.verdict(STORED) == "hit-exact"
    assert await tier.metric("forebay_semantic_decisions_total", reason="unavailable") >= 1


async def test_a_process_that_hangs_costs_its_deadline_and_then_nothing(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async with running_tier(tmp_path, upstream) as tier:
        await tier.ask(STORED)
        await tier.semantic.until(1)
        os.kill(tier.semantic.process.process.pid, signal.SIGSTOP)
        asked = asyncio.create_task(tier.verdict(REORDERED))
        await asyncio.sleep(0.05)
        assert not asked.done()
        os.kill(tier.semantic.process.process.pid, signal.SIGCONT)
        assert await asked == "hit-semantic"


async def test_clients_that_leave_while_the_process_thinks_do_no_harm(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    process = tier.semantic.process.process.pid
    os.kill(process, signal.SIGSTOP)
    asked = [asyncio.create_task(tier.verdict(f"{REORDERED} {n}")) for n in range(4)]
    asked.append(asyncio.create_task(tier.verdict(REORDERED)))
    await asyncio.sleep(0.05)
    for leaving in asked[:4]:
        leaving.cancel()
    await asyncio.gather(*asked[:4], return_exceptions=True)
    os.kill(process, signal.SIGCONT)
    assert await asked[4] == "hit-semantic"


async def feed_back(tier: Tier, request_id: str, body: Any, **headers: str) -> tuple[int, Any]:
    path = f"/forebay/requests/{request_id}/feedback"
    async with tier.gateway.post(path, json.dumps(body).encode(), **headers) as response:
        return response.status, await response.json()


async def test_a_hit_that_somebody_finds_wrong_is_never_given_again(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    headers, _ = await tier.ask(REORDERED, cache_control="no-store")
    record = await tier.gateway.settled(headers["x-forebay-request-id"])
    assert record["stored"]["entry"] != record["stored"]["question"]
    status, said = await feed_back(tier, headers["x-forebay-request-id"], {"good": False})
    assert (status, said["effect"]) == (200, "blocked")
    assert await tier.verdict(REORDERED, cache_control="no-store") == "miss"
    # It is a label as well, and the question's own answer is as good as ever.
    assert await tier.verdict(NEAR, cache_control="no-store") == "miss"
    assert await tier.verdict(STORED) == "hit-exact"


async def test_praise_is_a_label_and_counts_once(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    request_id = (await tier.ask(REORDERED, cache_control="no-store"))[0]["x-forebay-request-id"]
    assert (await feed_back(tier, request_id, {"good": True}))[1]["effect"] == "learnt"
    assert (await feed_back(tier, request_id, {"good": True}))[1]["effect"] == "none"
    assert await tier.metric("forebay_semantic_labels_total", source="feedback", label="same") == 2


async def test_a_bad_answer_to_its_own_question_is_fetched_anew(tier: Tier) -> None:
    request_id = (await tier.ask(STORED))[0]["x-forebay-request-id"]
    await tier.semantic.until(1)
    assert (await feed_back(tier, request_id, {"good": True}))[1]["effect"] == "none"
    assert (await feed_back(tier, request_id, {"good": False}))[1]["effect"] == "forgotten"
    await tier.semantic.until(0)
    assert await tier.verdict(STORED) == "miss"


async def test_feedback_on_what_is_not_there_or_says_nothing_is_refused(tier: Tier) -> None:
    assert (await feed_back(tier, "req_unknown", {"good": False}))[0] == 404
    request_id = (await tier.ask(STORED))[0]["x-forebay-request-id"]
    for nonsense in ({}, {"good": "no"}, {"good": True, "more": 1}, []):
        assert (await feed_back(tier, request_id, nonsense))[0] == 400


async def test_a_wrong_hit_goes_even_if_the_process_cannot_learn(tier: Tier) -> None:
    await tier.ask(STORED)
    await tier.semantic.until(1)
    request_id = (await tier.ask(REORDERED))[0]["x-forebay-request-id"]
    tier.semantic.process.process.kill()
    await tier.semantic.process.wait()
    assert (await feed_back(tier, request_id, {"good": False}))[1]["effect"] == "forgotten"
    assert await tier.verdict(STORED) == "miss"


async def test_no_request_fails_while_the_process_is_killed_hung_and_restarted(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        said = json.loads(received)["messages"][-1]["content"]
        return web.json_response(text=completion(f"answer to {said}").decode())

    upstream.reply = reply
    async with running_tier(tmp_path, upstream, deadline_ms=200) as tier:
        stop = asyncio.Event()
        verdicts: list[str] = []

        async def client(number: int) -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                words = [f"{letter}{number}x{turn // 3}" for letter in "abc"]
                text = " ".join(words[turn % 3 :] + words[: turn % 3])
                headers, answer = await tier.ask(text)
                verdicts.append(headers["x-forebay-cache"])
                # Whatever happens, nobody gets the answer to a question of other words.
                said = answer["choices"][0]["message"]["content"]
                assert sorted(said.split()[2:]) == sorted(text.split())

        clients = [asyncio.create_task(client(number)) for number in range(4)]
        for _ in range(2):
            process = tier.semantic.process
            os.kill(process.process.pid, signal.SIGSTOP)
            await tier.until(1, "forebay_semantic_calls_total", outcome="late")
            os.kill(process.process.pid, signal.SIGCONT)
            process.process.kill()
            await process.wait()
            tier.semantic.socket.parent.mkdir(mode=0o700, exist_ok=True)
            tier.semantic.process = await launch(
                SemanticOptions(store=tier.semantic.url), tier.semantic.socket, module=MODULE
            )
            hits = verdicts.count("hit-semantic")
            async with asyncio.timeout(PATIENT_S):
                while verdicts.count("hit-semantic") <= hits:
                    assert not any(task.done() for task in clients), clients
                    await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*clients)


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
