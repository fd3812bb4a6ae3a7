"""Two models behind one name: who answers, what it costs, and what happens when one of them fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway.errors import ConfigError
from router.before.query import QueryModel
from router.before.topics import fit_topics
from router.policy.escalation import Escalation
from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import chat
from tests.gateway.support.two_models import (
    BY_ANSWER,
    BY_QUERY,
    LARGE_USD,
    QUESTION,
    RIGHT,
    SLIPPED,
    SMALL_USD,
    STREAMED,
    TELLS,
    WRONG,
    Start,
    Two,
    ask,
    route_of,
    sure,
)
from tests.gateway.support.upstream import (
    DONE,
    Reply,
    begin_stream,
    chunk,
    completion,
    json_reply,
    stream_reply,
    usage_chunk,
)


async def test_an_answer_whose_sums_are_right_is_kept(start: Start, two: Two) -> None:
    async with start() as gateway, gateway.post(body=ask()) as response:
        assert await response.read() == completion(RIGHT)
        assert response.headers["x-forebay-route"] == "small"
        assert response.headers["x-forebay-attempts"] == "1"
        assert float(response.headers["x-forebay-cost-usd"]) == pytest.approx(SMALL_USD)
    assert two.asked() == (1, 0)


async def test_one_whose_sums_are_wrong_is_escalated_with_the_clients_own_words(
    start: Start, two: Two
) -> None:
    two.small.reply = json_reply(completion(WRONG))
    body = b'{ "model":"auto", "messages":[{"role":"user","content":"What are 7 boxes of 8?"}],"seed": 1.0 }'

    async with start() as gateway, gateway.post(body=body) as response:
        assert await response.read() == completion("56, of course")
        assert response.headers["x-forebay-route"] == "small>large"
        assert response.headers["x-forebay-attempts"] == "2"

    assert two.small.received[0].body == body.replace(b'"auto"', b'"tiny"')
    assert two.large.received[0].body == body.replace(b'"auto"', b'"huge"')


async def test_the_large_model_gets_what_was_left_out_for_the_small_one(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))
    rows = json.dumps([{"id": n, "box": f"box {n}", "price": 1.5} for n in range(40)], indent=2)
    body = json.dumps(ask(f"{rows}\n\n{QUESTION}")).encode()

    async with start() as gateway:
        async with gateway.post(body=body) as response:
            assert response.headers["x-forebay-route"] == "small>large"
            assert "x-forebay-tokens-saved" not in response.headers
        async with gateway.post(body=body, **{"x-forebay-route": "large"}) as response:
            assert int(response.headers["x-forebay-tokens-saved"]) > 0

    assert len(two.small.received[0].body) < len(body)
    assert two.large.received[0].body == body.replace(b'"auto"', b'"huge"')
    assert len(two.large.received[1].body) < len(body), "only who comes second gets everything"


async def test_every_stage_is_accounted(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))

    async with start() as gateway:
        async with gateway.post(body=ask()) as response:
            assert float(response.headers["x-forebay-cost-usd"]) == pytest.approx(SMALL_USD + LARGE_USD)
            record = await gateway.settled(response.headers["x-forebay-request-id"])
        async with gateway.get("/metrics") as page:
            text = await page.text()

    assert record["route"] == "small>large"
    assert [call["model"] for call in record["calls"]] == ["small", "large"]
    assert record["usage"]["input_tokens"] == 20
    for model in ("small", "large"):
        line = next(
            line for line in text.splitlines() if line.startswith("forebay_cost_usd_total") and model in line
        )
        assert float(line.rsplit(" ", 1)[1]) > 0


@pytest.mark.parametrize(
    "body",
    [
        ask(tools=[{"type": "custom", "custom": {"name": "f"}}]),
        ask(functions=[{"name": "f"}]),
        ask(n=2),
        ask([{"type": "text", "text": "What is it?"}, {"type": "input_audio", "input_audio": {"data": ""}}]),
        chat("auto") | {"messages": "Hi"},
    ],
)
async def test_what_the_small_model_cannot_be_judged_on_goes_to_the_large_one(
    start: Start, two: Two, body: dict[str, Any]
) -> None:
    async with start() as gateway:
        assert await route_of(gateway, body) == "large"
    assert two.asked() == (0, 1)


async def test_text_in_parts_is_text(start: Start) -> None:
    async with start() as gateway:
        assert await route_of(gateway, ask([{"type": "text", "text": QUESTION}])) == "small"


async def test_other_endpoints_have_the_large_model(start: Start, two: Two) -> None:
    body = {"model": "auto", "prompt": "1 + 1 ="}
    async with start() as gateway, gateway.post("/v1/completions", body) as response:
        assert response.headers["x-forebay-route"] == "large"
    assert two.asked() == (0, 1)


async def test_json_that_was_asked_for_and_did_not_come_is_escalated(start: Start) -> None:
    async with start() as gateway:
        assert await route_of(gateway, ask(response_format={"type": "json_object"})) == "small>large"


async def test_an_answer_that_was_cut_is_escalated(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(RIGHT).replace(b'"stop"', b'"length"'))

    async with start() as gateway:
        assert await route_of(gateway) == "small>large"


async def test_token_probabilities_count_where_they_are_given(start: Start, two: Two) -> None:
    answer = json.loads(completion(RIGHT))
    answer["choices"][0]["logprobs"] = {
        "content": [
            {"token": "7", "logprob": -9.0, "bytes": [55], "top_logprobs": [{"token": "7", "logprob": -9.0}]}
        ]
    }
    two.small.reply = json_reply(json.dumps(answer).encode())

    async with start() as gateway:
        assert await route_of(gateway) == "small>large"


@pytest.mark.parametrize(("logprob", "route"), [(-0.1, "small"), (-9.0, "small>large")])
async def test_a_model_that_can_is_asked_how_sure_it_is_and_the_client_does_not_see_it(
    start: Start, two: Two, logprob: float, route: str
) -> None:
    answer = completion(RIGHT).replace(
        b'"logprobs": null', b'"logprobs": ' + json.dumps(sure(logprob)).encode()
    )
    two.small.reply = json_reply(answer)
    body = json.dumps(ask()).encode()

    async with start(small=TELLS) as gateway, gateway.post(body=body) as response:
        assert response.headers["x-forebay-route"] == route
        received = await response.read()

    assert two.small.received[0].body == body.replace(b'"auto"', b'"tiny"')[:-1] + (
        b',"logprobs":true,"top_logprobs":5}'
    )
    if route == "small":
        assert received == completion(RIGHT)
    else:
        assert two.large.received[0].body == body.replace(b'"auto"', b'"huge"')


async def test_what_the_client_asks_of_probabilities_he_gets(start: Start, two: Two) -> None:
    answer = json.loads(completion(RIGHT))
    answer["choices"][0]["logprobs"] = sure(-0.1)
    two.small.reply = json_reply(json.dumps(answer).encode())
    body = ask(logprobs=True, top_logprobs=1)

    async with start(small=TELLS) as gateway, gateway.post(body=body) as response:
        assert await response.json() == answer
    assert json.loads(two.small.received[0].body)["top_logprobs"] == 1


async def test_a_stream_is_asked_for_probabilities_too(start: Start, two: Two) -> None:
    def streamed(first: float) -> list[bytes]:
        pieces = [chunk({"role": "assistant", "content": ""})]
        for text, logprob in (("7 * 8 ", first), ("= 56", -0.1)):
            choice = {
                "index": 0,
                "delta": {"content": text},
                "logprobs": sure(logprob),
                "finish_reason": None,
            }
            pieces.append(chunk({}, choices=[choice]))
        return [*pieces, chunk({}, "stop")]

    two.large.reply = stream_reply(chunk({"content": "56"}), chunk({}, "stop"))
    async with start(small=TELLS) as gateway:
        two.small.reply = stream_reply(*streamed(-0.1))
        async with gateway.post(body=ask(stream=True)) as response:
            assert response.headers["x-forebay-route"] == "small"
            received = await response.read()
        two.small.reply = stream_reply(*streamed(-9.0))
        assert await route_of(gateway, ask(stream=True)) == "small>large"

    choices = [json.loads(line[6:])["choices"][0] for line in received.split(b"\n\n") if b"{" in line]
    assert [choice["delta"].get("content") for choice in choices] == ["", "7 * 8 ", "= 56", None]
    assert [choice.get("logprobs") for choice in choices] == [None] * 4
    assert json.loads(two.small.received[0].body)["logprobs"] is True


async def test_where_the_query_decides_nobody_is_asked_how_sure_he_is(start: Start, two: Two) -> None:
    two.small.reply = stream_reply()

    async with start(BY_QUERY, small=TELLS) as gateway:
        assert await route_of(gateway, ask("Name a river.", stream=True)) == "small"
    assert "logprobs" not in json.loads(two.small.received[0].body)


@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream_that_is_kept_comes_as_the_small_model_sent_it(
    start: Start, two: Two, usage: bool
) -> None:
    two.small.reply = stream_reply(*STREAMED)
    body = ask(stream=True, **({"stream_options": {"include_usage": True}} if usage else {}))

    async with start() as gateway, gateway.post(body=body) as response:
        assert response.headers["x-forebay-route"] == "small"
        received = await response.read()
        record = await gateway.settled(response.headers["x-forebay-request-id"])

    if usage:
        assert b'"usage":null' in received and usage_chunk() in received
    else:
        assert received == b"".join(STREAMED) + DONE
    assert record["cost_usd"] == pytest.approx(SMALL_USD)
    assert two.asked() == (1, 0)


async def test_of_a_stream_that_is_not_kept_the_client_sees_nothing(start: Start, two: Two) -> None:
    two.small.reply = stream_reply(*SLIPPED)
    two.large.reply = stream_reply(*STREAMED)

    async with start() as gateway, gateway.post(body=ask(stream=True)) as response:
        assert response.headers["x-forebay-route"] == "small>large"
        assert await response.read() == b"".join(STREAMED) + DONE
        record = await gateway.settled(response.headers["x-forebay-request-id"])

    assert record["cost_usd"] == pytest.approx(SMALL_USD + LARGE_USD)


async def cut(request: web.Request, body: bytes) -> web.StreamResponse:
    response = await begin_stream(request)
    await response.write(STREAMED[0])
    return response


@pytest.mark.parametrize(
    "reply",
    [
        cut,
        stream_reply(STREAMED[0], b'data: {"error": {"message": "oh"}}\n\n'),
        stream_reply(*[chunk({"content": "7 * 8 = 56 " * 10_000})] * 12, chunk({}, "stop")),
        json_reply(b'{"error": {"message": "oh", "type": "server_error"}}', 503),
    ],
)
async def test_a_stream_that_fails_or_does_not_end_is_replaced(start: Start, two: Two, reply: Reply) -> None:
    two.small.reply = reply
    two.large.reply = stream_reply(*STREAMED)

    async with start() as gateway, gateway.post(body=ask(stream=True)) as response:
        assert response.headers["x-forebay-route"] == "small>large"
        assert await response.read() == b"".join(STREAMED) + DONE


@pytest.mark.parametrize("answer", [STREAMED, SLIPPED])
async def test_a_held_stream_is_cached_once_and_with_its_usage(
    start: Start, two: Two, answer: list[bytes]
) -> None:
    two.small.reply = stream_reply(*answer)
    two.large.reply = stream_reply(*STREAMED)

    async with start(cached=True, environ={"FOREBAY__CACHE__SEMANTIC": "null"}) as gateway:
        async with gateway.post(body=ask(stream=True)) as response:
            await response.read()
        await until_kept(gateway)
        async with gateway.post(body=ask()) as response:
            assert response.headers["x-forebay-cache"] == "hit-exact"
            whole = await response.json()
        async with gateway.get("/metrics") as page:
            kept = [
                line
                for line in (await page.text()).splitlines()
                if line.startswith("forebay_cache_admissions_total")
            ]

    assert whole["choices"][0]["message"]["content"] == "7 * 8 = 56"
    assert whole["usage"]["prompt_tokens"] == 10
    assert len(kept) == 1 and kept[0].endswith(" 1.0")


@pytest.mark.parametrize(("text", "route"), [("Name a river.", "small"), ("1 2 3 4 5 6 7 8 9", "large")])
@pytest.mark.parametrize("stream", [False, True])
async def test_where_the_query_decides_only_one_model_is_asked(
    start: Start, two: Two, text: str, route: str, stream: bool
) -> None:
    if stream:
        two.small.reply = two.large.reply = stream_reply()

    async with start(BY_QUERY) as gateway:
        assert await route_of(gateway, ask(text, stream=stream)) == route
    assert sum(two.asked()) == 1


async def test_a_coin_falls_the_same_way_whenever_the_same_comes_again(start: Start) -> None:
    coin = replace(BY_ANSWER, decides_by="coin", confidence=None, escalation=Escalation(0.0, 0.5))

    async with start(coin) as gateway:
        once = [await route_of(gateway, ask(f"Question {number}?")) for number in range(20)]
        again = [await route_of(gateway, ask(f"Question {number}?")) for number in range(20)]

    assert once == again
    assert set(once) == {"small", "large"}


@pytest.mark.parametrize(
    "reply",
    [
        json_reply(b'{"error": {"message": "too long", "type": "invalid_request_error"}}', 400),
        json_reply(b'{"error": {"message": "oh", "type": "server_error"}}', 500),
        json_reply(b"not JSON"),
        json_reply(b'{"choices": []}'),
    ],
)
async def test_if_the_small_model_fails_the_large_one_answers(start: Start, two: Two, reply: Reply) -> None:
    two.small.reply = reply

    async with start() as gateway:
        assert await route_of(gateway) == "small>large"


async def test_if_the_small_model_cannot_be_reached_the_large_one_answers(start: Start, two: Two) -> None:
    async with start(near="http://127.0.0.1:9/v1") as gateway:
        assert await route_of(gateway) == "small>large"
    assert two.asked() == (0, 1)


async def test_if_the_large_model_fails_the_request_does(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))
    two.large.reply = json_reply(b'{"error": {"message": "busy", "type": "rate_limit"}}', 429)

    async with start() as gateway, gateway.post(body=ask()) as response:
        assert response.status == 429
        assert (await response.json())["error"]["message"] == "busy"
        assert response.headers["x-forebay-route"] == "small>large"


@pytest.mark.parametrize("stage", ["small", "large"])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_call_that_runs(
    start: Start, two: Two, stage: str, cached: bool, stream: bool
) -> None:
    async def stall(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def stall_within(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(STREAMED[0])
        return await stall(request, body)

    two.small.reply = stream_reply(*SLIPPED) if stream else json_reply(completion(WRONG))
    at = two.small if stage == "small" else two.large
    at.reply = stall_within if stream and stage == "small" else stall

    async with start(cached=cached) as gateway:
        async with aiohttp.ClientSession() as client:
            request = asyncio.create_task(
                client.post(
                    f"{gateway.url}/v1/chat/completions",
                    data=orjson.dumps(ask(stream=stream)),
                    headers={"content-type": "application/json"},
                )
            )
            await at.arrived.wait()
            request.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await request
        await at.left.wait()
    assert two.asked() == ((1, 0) if stage == "small" else (1, 1))


async def test_the_answer_is_cached_under_the_name_that_was_asked_for(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))

    async with start(cached=True, environ={"FOREBAY__CACHE__SEMANTIC": "null"}) as gateway:
        assert await route_of(gateway) == "small>large"
        await until_kept(gateway)
        async with gateway.post(body=ask()) as response:
            assert response.headers["x-forebay-cache"] == "hit-exact"
            assert response.headers["x-forebay-route"] == "auto"
            assert float(response.headers["x-forebay-cost-usd"]) == 0
            assert (await response.json())["choices"][0]["message"]["content"] == "56, of course"
    assert two.asked() == (1, 1)


async def test_the_span_says_why_in_a_line(start: Start, two: Two) -> None:
    two.small.reply = json_reply(completion(WRONG))

    async with start(traced=True) as gateway:
        await route_of(gateway)
        route = next(span for span in gateway.spans if span.name == "route")

    assert "right with probability 0.20" in str(route.attributes["forebay.route.reason"])
    assert "without logprobs" in str(route.attributes["forebay.route.reason"])
    parents = {span.name: span.parent for span in gateway.spans}
    assert parents["chat tiny"] == parents["chat huge"] == parents["route"]


async def test_a_policy_that_needs_topics_is_refused(start: Start) -> None:
    topics = fit_topics(["law", "art"], [1.0, 0.0])
    policy = replace(BY_QUERY, query=QueryModel(topics, None, None))

    with pytest.raises(ConfigError, match=r"forebay\.yaml:9:\d+: .* was learned with topics"):
        async with start(policy):
            pass


@pytest.mark.parametrize("tier", ["small", "large"])
async def test_a_caller_may_name_the_tier(start: Start, two: Two, tier: str) -> None:
    two.small.reply = json_reply(completion(WRONG))

    async with start() as gateway, gateway.post(body=ask(), x_forebay_route=tier) as response:
        assert response.headers["x-forebay-route"] == tier
    assert two.asked() == ((1, 0) if tier == "small" else (0, 1))


async def test_the_answer_of_a_named_tier_is_cached_apart(start: Start, two: Two) -> None:
    async with start(cached=True, environ={"FOREBAY__CACHE__SEMANTIC": "null"}) as gateway:
        async with gateway.post(body=ask(), x_forebay_route="small"):
            await until_kept(gateway)
        async with gateway.post(body=ask(), x_forebay_route="large") as response:
            assert response.headers["x-forebay-cache"] == "miss"
        async with gateway.post(body=ask()) as response:
            assert response.headers["x-forebay-cache"] == "miss"
    assert two.asked() == (2, 1)


@pytest.mark.parametrize(
    ("model", "said"), [("auto", "must be one of small, large"), ("small", "needs a model")]
)
async def test_a_tier_that_there_is_not_is_refused(start: Start, model: str, said: str) -> None:
    async with start() as gateway, gateway.post(body=ask(model=model), x_forebay_route="medium") as response:
        assert response.status == 400
        error = (await response.json())["error"]
        assert said in error["message"] and error["param"] == "x-forebay-route"
