"""What other models, or the small one again, say of a question or an answer."""

from __future__ import annotations

import asyncio
import json
import math

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway.errors import ConfigError
from tests.gateway.support.two_models import (
    QUESTION,
    RIGHT,
    SMALL_USD,
    STREAMED,
    TELLS,
    Start,
    Two,
    ask,
    route_of,
    sure,
)
from tests.gateway.support.upstream import Reply, completion, json_reply, stream_reply

CLASSIFIER = ", classifier: {model: small}"
SELF_CHECK = ", self_check: true"
SAMPLES = ", samples: 3"


def asked_for(body: bytes) -> str:
    text = body.decode()
    if "Simple or complex?" in text:
        return "class"
    if "Is the answer right?" in text:
        return "check"
    return "sample" if '"temperature":0.7' in text else "answer"


def by_kind(**replies: Reply) -> Reply:
    """Answer each kind of request in its own way."""

    async def reply(request: web.Request, body: bytes) -> web.StreamResponse:
        return await replies[asked_for(body)](request, body)

    return reply


def says(text: str) -> Reply:
    return json_reply(completion(text))


def in_turn(*texts: str) -> Reply:
    left = list(texts)

    async def reply(request: web.Request, body: bytes) -> web.StreamResponse:
        return await says(left.pop(0))(request, body)

    return reply


async def stall(request: web.Request, body: bytes) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def kinds(two: Two) -> list[str]:
    return [asked_for(received.body) for received in two.small.received]


@pytest.mark.parametrize(
    ("word", "route", "asked"),
    [
        ("complex", "large", ["class"]),
        ("Simple.", "small", ["class", "answer"]),
        ("Well, complex", "small", ["class", "answer"]),
    ],
)
async def test_a_classifier_sends_the_complex_to_the_large_model(
    start: Start, two: Two, word: str, route: str, asked: list[str]
) -> None:
    two.small.reply = by_kind(**{"class": says(word), "answer": says(RIGHT)})
    async with start(route=CLASSIFIER) as gateway, gateway.post(body=ask()) as response:
        assert response.headers["x-forebay-route"] == route
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert kinds(two) == asked
    assert (record["route_reason"] == "the classifier says complex") is (word == "complex")
    answer_usd = 140e-6 if route == "large" else SMALL_USD
    assert record["cost_usd"] == pytest.approx(SMALL_USD + answer_usd), "its own cost is part of it"


async def test_it_is_asked_once_for_the_same_question(start: Start, two: Two) -> None:
    two.small.reply = by_kind(**{"class": says("simple"), "answer": says(RIGHT)})
    async with start(route=CLASSIFIER) as gateway:
        await route_of(gateway)
        await route_of(gateway, ask(seed=1))
    assert kinds(two) == ["class", "answer", "answer"]


@pytest.mark.parametrize(
    "reply", [stall, json_reply(b'{"error": {"message": "oh"}}', 500), json_reply(b"no")]
)
async def test_one_that_fails_or_is_late_has_said_nothing(start: Start, two: Two, reply: Reply) -> None:
    two.small.reply = by_kind(**{"class": reply, "answer": says(RIGHT)})
    async with start(route=", classifier: {model: small, deadline_ms: 200}") as gateway:
        assert await route_of(gateway) == "small"


async def test_a_classifier_that_there_is_not_is_refused(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"there is no model 'smal', did you mean 'small'"):
        async with start(route=", classifier: {model: smal}"):
            pass


def yes(probability: float) -> Reply:
    """A yes or no as a server tells it that gives probabilities."""
    tops = [("Yes", probability), ("no", 1 - probability)]
    entries = [{"token": word, "logprob": math.log(max(1e-9, p)), "bytes": []} for word, p in tops]
    answer = json.loads(completion("Yes"))
    answer["choices"][0]["logprobs"] = {"content": [entries[0] | {"top_logprobs": entries}]}
    return json_reply(json.dumps(answer).encode())


UNSURE = json.loads(completion(RIGHT))
UNSURE["choices"][0]["logprobs"] = sure(-0.4)


@pytest.mark.parametrize(
    ("check", "route"), [(yes(0.9), "small"), (yes(0.2), "small>large"), (stall, "small")]
)
async def test_a_small_model_may_doubt_its_own_answer(
    start: Start, two: Two, check: Reply, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.routing.second_look.PATIENCE_S", 0.2)
    two.small.reply = by_kind(check=check, answer=json_reply(json.dumps(UNSURE).encode()))
    async with start(route=SELF_CHECK, small=TELLS) as gateway, gateway.post(body=ask()) as response:
        assert response.headers["x-forebay-route"] == route
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert kinds(two) == ["answer", "check"]
    asked = json.loads(two.small.received[1].body)
    assert (asked["logprobs"], asked["max_tokens"]) == (True, 4) and QUESTION in asked["messages"][1][
        "content"
    ]
    if route == "small>large":
        assert "doubted" in record["route_reason"]


@pytest.mark.parametrize(("word", "route"), [("Yes.", "small"), ("No", "small>large"), ("Hm", "small")])
async def test_without_probabilities_the_word_counts(start: Start, two: Two, word: str, route: str) -> None:
    two.small.reply = by_kind(check=says(word), answer=says(RIGHT))
    async with start(route=SELF_CHECK) as gateway:
        assert await route_of(gateway) == route
    assert "logprobs" not in json.loads(two.small.received[1].body)


async def test_an_answer_that_is_clear_is_not_looked_at_again(start: Start, two: Two) -> None:
    clear = json.loads(completion(RIGHT))
    clear["choices"][0]["logprobs"] = sure(-0.01)
    two.small.reply = json_reply(json.dumps(clear).encode())
    async with start(route=SELF_CHECK + SAMPLES, small=TELLS) as gateway:
        assert await route_of(gateway) == "small"
    assert kinds(two) == ["answer"]


@pytest.mark.parametrize(
    ("samples", "route"),
    [
        (("It is 56.", "So 7 * 8 = 56"), "small"),
        (("It is 56.", "54"), "small"),
        (("It is 54.", "About 60 boxes"), "small>large"),
    ],
)
async def test_an_answer_that_further_samples_do_not_share_is_doubted(
    start: Start, two: Two, samples: tuple[str, str], route: str
) -> None:
    two.small.reply = by_kind(sample=in_turn(*samples), answer=says(RIGHT))
    async with start(route=SAMPLES) as gateway, gateway.post(body=ask(seed=7, temperature=0.2)) as response:
        assert response.headers["x-forebay-route"] == route
        cost = float(response.headers["x-forebay-cost-usd"])
    assert kinds(two) == ["answer", "sample", "sample"]
    sampled = json.loads(two.small.received[1].body)
    assert sampled["temperature"] == 0.7 and "seed" not in sampled
    assert sampled["messages"] == ask()["messages"]
    assert cost == pytest.approx(3 * SMALL_USD + (140e-6 if route == "small>large" else 0.0))


async def test_texts_that_are_not_the_same_tell_nothing_without_somebody_to_compare_them(
    start: Start, two: Two
) -> None:
    two.small.reply = by_kind(sample=says("The capital is Rome."), answer=says("Rome."))
    async with start(route=SAMPLES) as gateway:
        assert await route_of(gateway, ask("What is the capital of Italy?")) == "small"


async def test_streams_are_looked_at_too(start: Start, two: Two) -> None:
    two.small.reply = by_kind(check=says("no"), answer=stream_reply(*STREAMED))
    two.large.reply = stream_reply(*STREAMED)
    async with start(route=SELF_CHECK) as gateway:
        assert await route_of(gateway, ask(stream=True)) == "small>large"
        async with gateway.post(body=ask(stream=True), x_forebay_stream="speculative") as response:
            assert b"forebay.reset" in await response.read()


@pytest.mark.parametrize(
    ("route", "kind"), [(CLASSIFIER, "class"), (SELF_CHECK, "check"), (SAMPLES, "sample")]
)
@pytest.mark.parametrize("mode", [None, "hold", "speculative"])
async def test_a_client_that_leaves_ends_the_look(
    start: Start, two: Two, route: str, kind: str, mode: str | None
) -> None:
    looked = asyncio.Event()

    async def look(request: web.Request, body: bytes) -> web.StreamResponse:
        looked.set()
        return await stall(request, body)

    answer = says(RIGHT) if mode is None else stream_reply(*STREAMED)
    two.small.reply = by_kind(**{"answer": answer, kind: look})
    async with start(route=route) as gateway:
        async with aiohttp.ClientSession() as client:
            headers = {"content-type": "application/json"} | (
                {} if mode is None else {"x-forebay-stream": mode}
            )
            body = orjson.dumps(ask(stream=mode is not None))

            async def read() -> bytes:
                url = f"{gateway.url}/v1/chat/completions"
                async with client.post(url, data=body, headers=headers) as response:
                    return await response.read()

            request = asyncio.create_task(read())
            await looked.wait()
            request.cancel()
            await asyncio.wait([request])
        await two.small.left.wait()
    assert two.asked()[1] == 0


@pytest.mark.parametrize("key", ["streams: held", "samples: 6", "hold_s: 0", "classifier: {}"])
async def test_what_makes_no_sense_is_refused(start: Start, key: str) -> None:
    with pytest.raises(ConfigError):
        async with start(route=f", {key}"):
            pass
