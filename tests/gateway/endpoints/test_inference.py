from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.gateway.support.running import CHAT, RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    completion,
    json_reply,
    stream_reply,
)

# Odd but legal: white space, escapes, a number that does not survive a float, an unknown field, a null.
ODD_BODY = (
    '{ "messages" : [ {"role":"user","content":"Gr\\u00fc\\u00dfe 🌊 \\/ \\"model\\":\\"x\\""} ],\r\n'
    ' "model" :  "same"\t, "temperature":1.0e0, "seed": 12345678901234567890123, "user":null,'
    ' "x_new":{"a":[1]} }\n'
).encode()


async def test_the_upstream_sees_the_clients_bytes_and_the_client_the_upstreams(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    odd_answer = completion("Ünïcode 🌊", extra=None)
    upstream.reply = json_reply(odd_answer)
    async with gateway.post(body=ODD_BODY) as response:
        assert response.status == 200
        assert await response.read() == odd_answer
    assert upstream.received[0].body == ODD_BODY
    assert upstream.received[0].path == CHAT


async def test_an_alias_changes_nothing_but_the_models_name(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async with gateway.post(body=ODD_BODY.replace(b'"same"', b'"auto"')) as response:
        assert response.headers["x-forebay-route"] == "m"
    assert upstream.received[0].body == ODD_BODY.replace(b'"same"', b'"real-m"')


@pytest.mark.parametrize("model", ["m", "auto", "same", "org/any-model"])
async def test_names_are_looked_up_in_routes_then_models_then_the_star(
    gateway: RunningGateway, upstream: ScriptedUpstream, model: str
) -> None:
    async with gateway.post(body=chat(model)):
        pass
    sent = orjson.loads(upstream.received[0].body)["model"]
    assert sent == {"m": "real-m", "auto": "real-m"}.get(model, model)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_other_endpoints_pass_through(
    gateway: RunningGateway, upstream: ScriptedUpstream, path: str
) -> None:
    answer = b'{"object":"list","data":[{"embedding":[0.25]}],"usage":{"prompt_tokens":5,"total_tokens":5}}'
    upstream.reply = json_reply(answer)
    body = b'{"model":"same","input":["a"],"prompt":"a","encoding_format":"base64"}'
    async with gateway.post(path, body) as response:
        assert await response.read() == answer
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert (upstream.received[0].path, upstream.received[0].body) == (path, body)
    assert record["usage"] == {"input_tokens": 5, "output_tokens": 0, "cached_tokens": 0}


async def test_a_stream_that_asks_for_usage_is_left_as_it_is(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = stream_reply()
    body = b'{"model":"same","stream":true,"stream_options": {"include_usage": true}}'
    async with gateway.post(body=body) as response:
        received = await response.read()
    assert upstream.received[0].body == body
    assert received.count(b'"usage":null') == len(EVENTS) and b'"choices":[],"usage":{' in received


async def test_usage_asked_for_on_our_own_account_is_counted_and_taken_out_again(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = stream_reply()
    async with gateway.post(body=b'{"model":"same","stream":true}') as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert await response.read() == b"".join(EVENTS) + DONE
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert (
        upstream.received[0].body == b'{"model":"same","stream":true,"stream_options":{"include_usage":true}}'
    )
    assert record["usage"] == {"input_tokens": 10, "output_tokens": 2, "cached_tokens": 0}


async def test_an_upstream_that_refuses_stream_options_is_not_asked(
    upstream: ScriptedUpstream, config: str, tmp_path: Path
) -> None:
    upstream.reply = stream_reply()
    yaml = config.replace("kind: openai,", "kind: openai, stream_usage: false,")
    async with (
        running_gateway(yaml, tmp_path) as gateway,
        gateway.post(body=b'{"model":"same","stream":true}') as response,
    ):
        assert await response.read() == b"".join(EVENTS) + DONE
    assert upstream.received[0].body == b'{"model":"same","stream":true}'


async def test_events_are_forwarded_as_they_come(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    go_on = asyncio.Event()

    async def one_by_one(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        await go_on.wait()
        for event in EVENTS[1:]:
            await response.write(event)
        await response.write(DONE)
        return response

    upstream.reply = one_by_one
    async with gateway.post(body=chat(stream=True)) as response:
        # The upstream sends nothing more before we have this.
        assert await response.content.readuntil(b"\n\n") == EVENTS[0]
        go_on.set()
        assert await response.content.read() == b"".join(EVENTS[1:]) + DONE


async def test_an_event_in_pieces_arrives_whole(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    async def in_pieces(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        for byte in b"".join(EVENTS) + DONE:
            await response.write(bytes([byte]))
        return response

    upstream.reply = in_pieces
    async with gateway.post(body=chat(stream=True)) as response:
        assert await response.content.read() == b"".join(EVENTS) + DONE


async def test_bytes_after_the_last_event_are_passed_on(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def unterminated(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[-1] + b"data: [DONE]")
        return response

    upstream.reply = unterminated
    async with gateway.post(body=chat(stream=True)) as response:
        assert await response.content.read() == EVENTS[-1] + b"data: [DONE]"


async def test_a_stream_request_may_get_a_whole_answer(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async with gateway.post(body=chat(stream=True)) as response:
        assert response.headers["content-type"] == "application/json"
        assert await response.read() == completion()


async def test_headers_say_what_happened(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    async with gateway.post(body=chat("auto")) as response:
        headers = response.headers
    assert headers["x-forebay-request-id"].startswith("req_")
    assert headers["x-request-id"] == headers["x-forebay-request-id"]
    assert headers["x-forebay-route"] == "m"
    assert headers["x-forebay-attempts"] == "1"
    assert headers["x-forebay-cost-usd"] == "0.000014"
    names = [part.split(";")[0].strip() for part in headers["server-timing"].split(",")]
    assert names == ["upstream", "overhead"]
    assert "x-forebay-cache" not in headers


async def test_without_a_price_there_is_no_cost(gateway: RunningGateway) -> None:
    async with gateway.post(body=chat("same")) as response:
        assert "x-forebay-cost-usd" not in response.headers


async def test_a_settled_request_can_be_looked_up(gateway: RunningGateway) -> None:
    async with gateway.post() as response:
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert record["model"] == "m" and record["route"] == "m" and record["status"] == 200
    assert record["error"] is None and record["attempts"] == 1
    assert record["usage"] == {"input_tokens": 10, "output_tokens": 2, "cached_tokens": 0}
    assert record["cost_usd"] == pytest.approx(14e-6)
    assert record["calls"][0]["finish_reasons"] == ["stop"]
    assert record["timings_ms"]["total"] >= record["timings_ms"]["upstream"]
    assert "Hi" not in json.dumps(record)


async def test_the_report_comes_before_done_if_it_is_asked_for(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = stream_reply()
    async with gateway.post(body=chat(stream=True), x_forebay_report="1") as response:
        text = await response.read()
    before, report, done = text.rsplit(b"\n\n", 3)[:3]
    assert before == b"".join(EVENTS).removesuffix(b"\n\n") and done == b"data: [DONE]"
    assert report.startswith(b": forebay {")
    record = orjson.loads(report.removeprefix(b": forebay "))
    assert record["usage"]["output_tokens"] == 2 and record["cost_usd"] == pytest.approx(14e-6)
    assert record["id"] == response.headers["x-forebay-request-id"]


async def test_the_report_comes_last_if_there_is_no_done(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def without_done(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[-1])
        return response

    upstream.reply = without_done
    async with gateway.post(body=chat(stream=True), x_forebay_report="1") as response:
        text = await response.read()
    assert text.startswith(EVENTS[-1] + b": forebay {")


async def test_secrets_of_the_client_stay_here_and_those_of_the_upstream_there(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    canary = "canary-7f3a"
    upstream.reply = json_reply(
        completion(), set_cookie=canary, openai_organization=canary, x_upstream=canary
    )
    async with gateway.post(
        authorization=f"Bearer {canary}",
        api_key=canary,
        cookie=f"session={canary}",
        openai_organization=canary,
        x_forwarded_for=canary,
        idempotency_key=canary,
        openai_beta="assistants=v2",
    ) as response:
        assert canary not in str(response.headers)
    sent = upstream.received[0].headers
    assert canary not in str(sent)
    assert sent["authorization"] == "Bearer sk-upstream-secret"
    assert sent["openai-beta"] == "assistants=v2"
    assert sent["user-agent"].startswith("forebay/") and sent["accept-encoding"] == "identity"
    allowed = {
        "host",
        "authorization",
        "user-agent",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
    }
    assert set(sent) == allowed | {"openai-beta"}


async def test_what_the_upstream_says_about_retrying_is_passed_on(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    error = b'{"error":{"message":"Slow down.","type":"rate_limit_error","param":null,"code":"rate_limited"}}'
    upstream.reply = json_reply(error, 429, retry_after="7", x_should_retry="true")
    async with gateway.post() as response:
        assert response.status == 429 and await response.read() == error
        assert response.headers["retry-after"] == "7" and response.headers["x-should-retry"] == "true"


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"{", 400, None, None),
        (b'{"model":"m","x":NaN}', 400, None, None),
        (b'{"messages":[]}', 400, None, "model"),
        (b'{"model":"m","model":"same"}', 400, None, "model"),
        (b'{"model":"*"}', 404, "model_not_found", "model"),
        (b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, None, None),
    ],
)
async def test_bad_requests_are_refused_before_any_upstream(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    body: bytes,
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    async with gateway.post(body=body) as response:
        assert response.status == status
        error = (await response.json())["error"]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
        assert response.headers["x-forebay-request-id"]
    assert upstream.received == []


async def test_an_unknown_model_without_a_star_is_not_found(config: str, tmp_path: Path) -> None:
    yaml = config.replace('"*": {upstream: up}', "")
    async with running_gateway(yaml, tmp_path) as gateway, gateway.post(body=chat("gpt-9")) as response:
        assert response.status == 404
        error = (await response.json())["error"]
    assert error["code"] == "model_not_found" and "`gpt-9`" in error["message"]


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_only_json_is_taken(gateway: RunningGateway, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    skip = ["content-type"] if not content_type else []
    async with gateway.http.post(
        gateway.url + CHAT, data=b'{"model":"m"}', headers=headers, skip_auto_headers=skip
    ) as response:
        assert response.status == 415
        assert (await response.json())["error"]["code"] == "unsupported_media_type"


async def in_slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


async def test_a_large_body_arrives_whole(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    body = orjson.dumps(chat("auto", filler="ü🌊x" * 500_000))
    headers = {"content-type": "application/json"}
    async with gateway.http.post(gateway.url + CHAT, data=in_slices(body), headers=headers) as response:
        assert response.status == 200
    assert upstream.received[0].body == body.replace(b'"auto"', b'"real-m"')
    assert int(upstream.received[0].headers["content-length"]) == len(body) + 2


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused(
    upstream: ScriptedUpstream, config: str, tmp_path: Path, declared: bool
) -> None:
    async with running_gateway(config + "server: {max_body_mb: 1}", tmp_path) as gateway:
        body = b'{"model":"m","x":"' + b"x" * (1 << 20) + b'"}'

        headers = {"content-type": "application/json"}
        if declared:
            headers["content-length"] = str(len(body))
        async with gateway.http.post(gateway.url + CHAT, data=in_slices(body), headers=headers) as response:
            assert response.status == 413
            assert (await response.json())["error"]["code"] == "request_too_large"
    assert upstream.received == []


async def test_a_compressed_request_body_is_read(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    body = orjson.dumps(chat("same"))
    async with gateway.post(body=gzip.compress(body), content_encoding="gzip") as response:
        assert response.status == 200
    assert upstream.received[0].body == body


async def test_a_body_that_can_not_be_decoded_is_the_clients_fault(gateway: RunningGateway) -> None:
    async with gateway.post(body=b"not gzip at all", content_encoding="gzip") as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_body_that_stops_arriving_is_408(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.endpoints.inference.BODY_PATIENCE_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
    writer.write(head.encode() + b"{")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.transport.abort()


async def test_many_requests_share_few_connections(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    peers = set()

    async def note_peer(request: web.Request, body: bytes) -> web.StreamResponse:
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=completion(), content_type="application/json")

    upstream.reply = note_peer
    for _ in range(5):
        async with gateway.post() as response:
            await response.read()
    assert len(peers) == 1


async def test_metrics_count_requests_and_tokens(gateway: RunningGateway) -> None:
    for model in ("m", "invented-1", "invented-2"):
        async with gateway.post(body=chat(model)) as response:
            await response.read()
    async with gateway.get("/metrics") as response:
        text = await response.text()
    assert 'forebay_requests_total{model="m",route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'forebay_requests_total{model="*",route="/v1/chat/completions",status="200"} 2.0' in text
    assert "invented" not in text
    assert 'forebay_tokens_total{kind="output",model="m"} 2.0' in text
    assert "forebay_requests_in_flight 0.0" in text


async def test_a_second_answer_is_not_begun_on_a_broken_connection(gateway: RunningGateway) -> None:
    """Keep-alive after an error answer: the connection still works."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as http:
        for body, status in ((b"{", 400), (b'{"model":"m"}', 200), (b"[]", 400)):
            async with http.post(
                gateway.url + CHAT, data=body, headers={"content-type": "application/json"}
            ) as response:
                assert response.status == status
