"""What the semantic tier learns, from whom, and that whatever happens to its process costs hits alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from semantic_cache.semantic.launcher import SemanticOptions, launch
from tests.gateway.support.semantic_tier import NEAR, REORDERED, STORED, UNSURE, Tier, feed_back, running_tier
from tests.gateway.support.upstream import ScriptedUpstream, completion, json_reply
from tests.semantic_cache.support.semantic_process import MODULE, PATIENT_S


@pytest.fixture
async def tier(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[Tier]:
    async with running_tier(tmp_path, upstream, traced=True) as tier:
        yield tier


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
