"""The live cascade benchmark, whole but small: a real gateway, a scripted small tier, and the large mock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks._live import (
    SmallTier,
    bundled,
    confidence_figures,
    config_of,
    costs,
    large_answers,
    learn,
    serve,
    served_figures,
)
from benchmarks._live_answers import Answered, read_answer
from benchmarks._live_questions import Question, is_right, questions
from benchmarks.peers.mock_large import usage_of
from gateway.config.load import load_config
from router.policy.learned import save

KNOWN = ("capital", "plural", "repeat", "city", "currency", "opposite", "larger", "french")
"""Kinds that the scripted small tier knows; of all else it is unsure, and wrong."""
PAST, REST = questions("past", 8), questions("rest", 2)
ASKED = {question.text: question for question in (*PAST, *REST)}


def pieces(question: Question) -> list[tuple[str, float]]:
    """The words of its answer, and how sure it is of each."""
    knows = question.kind in KNOWN
    text = f"It is {question.right[0]}." if knows else "It is bananas."
    return [(word + " ", -0.1 if place < 2 or knows else -3.0) for place, word in enumerate(text.split())]


def logprobs(said: list[tuple[str, float]]) -> dict[str, Any]:
    tops = [{"token": "x", "logprob": -3.5, "bytes": None}, {"token": "y", "logprob": -5.0, "bytes": None}]
    return {
        "content": [
            {"token": word, "logprob": value, "top_logprobs": [{"token": word, "logprob": value}, *tops]}
            for word, value in said
        ]
    }


def completion(question: Question) -> dict[str, Any]:
    said = pieces(question)
    text = "".join(word for word, _ in said)
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": logprobs(said), "finish_reason": "stop"}
    return {
        "id": "c",
        "object": "chat.completion",
        "choices": [choice],
        "usage": usage_of(question.text, text),
    }


def events(question: Question) -> Iterator[dict[str, Any]]:
    said = pieces(question)
    for word, value in said:
        choice = {"index": 0, "delta": {"content": word}, "logprobs": logprobs([(word, value)])}
        yield {"id": "c", "object": "chat.completion.chunk", "choices": [choice | {"finish_reason": None}]}
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    yield {"id": "c", "object": "chat.completion.chunk", "choices": [end]}
    usage = usage_of(question.text, "".join(word for word, _ in said))
    yield {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}


async def chat(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    if body.get("logprobs") is not True:
        return web.json_response({"error": {"message": "asked without logprobs"}}, status=400)
    question = ASKED[body["messages"][-1]["content"]]
    if not body.get("stream"):
        return web.json_response(completion(question))
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in events(question):
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


def answered(asked: list[Question]) -> list[Answered]:
    return [read_answer(question, json.dumps(completion(question)).encode()) for question in asked]


async def test_what_the_small_tier_does_not_know_goes_to_the_large_one(tmp_path: Path) -> None:
    past = answered(PAST)
    table = large_answers([*PAST, *REST], 0.95)
    learned, confidence = learn(past, table)
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", chat)])
    async with TestServer(app) as small:
        tier = SmallTier(
            {"kind": "openai", "base_url": str(small.make_url("/v1")), "api_key": "sk-small"},
            {"capabilities": {"logprobs": True}},
        )
        rest, served, counted = await asyncio.to_thread(serve, tmp_path, table, learned, tier, REST, REST)

    figures = served_figures(served, rest, table)
    unknown = sum(question.kind not in KNOWN for question in REST)
    escalated = figures["routes"]["smollm2>large"]
    # Many answers look exactly alike here, and of those at the threshold a share is kept by lot.
    assert 0.85 * unknown <= escalated <= unknown
    assert figures["routes"] == {"smollm2": len(REST) - escalated, "smollm2>large": escalated}
    assert figures["small_alone"] < 0.5 < 0.85 < figures["served_accuracy"]
    assert figures["realised_quality"] >= 0.9
    assert counted.requests == escalated
    # Raises if the answers, the records and the mock do not agree.
    assert costs(served, rest, table, counted)["cost_usd"]["due"] > 0

    found, peers = confidence_figures(past, rest, confidence, table)
    assert found["auroc"] > 0.99
    assert peers["random"]["auroc"] == 0.5
    calls = [one["strong_calls_at_95"] for one in (peers["oracle"], found, peers["random"])]
    assert calls == sorted(calls)
    assert found["auroc_over_length"] == round(found["auroc"] - peers["length"]["auroc"], 4)


def test_the_bundled_engine_is_configured_as_the_gateway_wants_it(tmp_path: Path) -> None:
    learned, _ = learn(answered(PAST), large_answers(PAST, 1.0))
    save(learned, tmp_path / "policy.json")
    file = tmp_path / "forebay.yaml"
    file.write_text(json.dumps(config_of(tmp_path, 8080, "http://127.0.0.1:9", bundled(tmp_path / "m.gguf"))))

    config = load_config(file, environ={})

    assert config.models["smollm2"].model == str(tmp_path / "m.gguf")
    assert list(config.routes["auto"].tiers) == ["smollm2", "large"]


def test_a_large_model_is_wrong_about_a_fixed_share() -> None:
    every, some, none = (large_answers(PAST, share) for share in (1.0, 0.8, 0.0))

    wrong = sum(answer == "That is not known." for answer in some.values())
    assert 0.1 < wrong / len(some) < 0.3
    assert some == large_answers(PAST, 0.8)
    assert all(is_right(question, every[question.text]) for question in PAST)
    assert set(none.values()) == {"That is not known."}
