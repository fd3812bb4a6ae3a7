"""Every way in which an upstream can fail, as the client sees it."""

from __future__ import annotations

import asyncio
import gzip
import socket
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    completion,
    json_reply,
    raw_upstream,
    read_request,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def one_model(base_url: str, timeouts: str = "connect: 1, first_byte: 20, idle: 20") -> str:
    return (
        f"upstreams: {{up: {{kind: openai, base_url: '{base_url}', timeouts: {{{timeouts}}}}}}}\n"
        "models: {m: {upstream: up}}"
    )


async def outcome(gateway: RunningGateway, stream: bool = False) -> tuple[int, dict[str, object]]:
    async with gateway.post(body=chat(stream=stream)) as response:
        return response.status, (await response.json())["error"]


def as_chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_listens(tmp_path: Path, stream: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with running_gateway(one_model(url), tmp_path) as gateway:
            status, error = await outcome(gateway, stream)
            async with gateway.get("/metrics") as response:
                assert 'error_type="connect_error",upstream="up"} 1.0' in await response.text()
    assert (status, error["code"], error["type"]) == (502, "upstream_unreachable", "server_error")
    assert "127.0.0.1" not in str(error)


async def test_the_name_does_not_resolve(tmp_path: Path) -> None:
    async with running_gateway(one_model("http://nowhere.invalid/v1"), tmp_path) as gateway:
        assert (await outcome(gateway))[0] == 502


async def test_nobody_accepts(tmp_path: Path) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # The backlog is full once as many connections wait as the kernel takes unaccepted.
        waiting = []
        for _ in range(8):
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
            waiting.append(other)
        try:
            timeouts = "connect: 0.1, first_byte: 20, idle: 20"
            async with running_gateway(
                one_model(f"http://127.0.0.1:{port}/v1", timeouts), tmp_path
            ) as gateway:
                status, error = await outcome(gateway)
        finally:
            for other in waiting:
                other.close()
    assert (status, error["code"]) == (504, "upstream_timeout")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("head", [False, True])
async def test_no_first_byte_in_time(
    upstream: ScriptedUpstream, tmp_path: Path, head: bool, stream: bool
) -> None:
    async def silent(request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        if head:
            response = await begin_stream(request)
        await asyncio.Event().wait()
        return response

    upstream.reply = silent
    timeouts = "connect: 1, first_byte: 0.1, idle: 20"
    async with running_gateway(one_model(upstream.base_url, timeouts), tmp_path) as gateway:
        status, error = await outcome(gateway, stream)
        assert (status, error["code"]) == (504, "upstream_timeout")
        await upstream.left.wait()
        async with gateway.get("/metrics") as response:
            assert 'error_type="first_byte_timeout"' in await response.text()


async def test_closed_unanswered(tmp_path: Path) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with raw_upstream(close) as url, running_gateway(one_model(url), tmp_path) as gateway:
        status, error = await outcome(gateway)
    assert (status, error["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 banana\r\n\r\n", b"\x16\x03\x01\x00\n\n"]
)
async def test_not_http(tmp_path: Path, answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    async with raw_upstream(speak) as url, running_gateway(one_model(url), tmp_path) as gateway:
        status, error = await outcome(gateway)
    assert (status, error["code"]) == (502, "upstream_invalid_response")


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"[1]", b'"text"', b'{"half":', b"\xff\xfe"])
async def test_a_200_that_is_no_json_object(
    gateway: RunningGateway, upstream: ScriptedUpstream, body: bytes
) -> None:
    upstream.reply = json_reply(body)
    status, error = await outcome(gateway)
    assert (status, error["code"]) == (502, "upstream_invalid_response")


async def test_an_openai_error_passes_with_its_status(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    body = b'{ "error": {"message": "Too long.", "code": "context_length_exceeded", "extra": 1} }'
    for status in (400, 403, 404, 422, 429, 500, 503):
        upstream.reply = json_reply(body, status)
        async with gateway.post() as response:
            assert (response.status, await response.read()) == (status, body)
            record = await gateway.settled(response.headers["x-forebay-request-id"])
        assert record["status"] == status and record["calls"][0]["error"] == str(status)


@pytest.mark.parametrize(("status", "seen"), [(404, 404), (422, 422), (429, 429), (500, 502), (503, 502)])
async def test_other_errors_get_openais_shape(
    gateway: RunningGateway, upstream: ScriptedUpstream, status: int, seen: int
) -> None:
    for body in (b"<html>nginx</html>", b'{"detail":"Not Found"}', b'{"error":"text"}', b""):
        upstream.reply = json_reply(body, status)
        got, error = await outcome(gateway)
        assert got == seen and error["message"]
        assert "nginx" not in str(error)


async def test_a_refused_key_is_our_fault_and_stays_secret(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = json_reply(b'{"error":{"message":"Incorrect API key provided: sk-up***ret"}}', 401)
    status, error = await outcome(gateway)
    assert (status, error["code"]) == (502, "upstream_unauthorized")
    assert "sk-" not in str(error)


async def test_a_redirect_is_not_followed(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    upstream.reply = json_reply(b"{}", 307, location=f"{upstream.url}/v1/elsewhere")
    assert (await outcome(gateway))[0] == 502
    assert len(upstream.received) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_that_breaks_off(tmp_path: Path, stream: bool) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")

    async with raw_upstream(cut) as url, running_gateway(one_model(url), tmp_path) as gateway:
        status, error = await outcome(gateway, stream)
    assert (status, error["code"]) == (502, "upstream_incomplete")


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"".join(EVENTS[:2]),
        HEAD + b"".join(EVENTS[:2]) + b'data: {"half',
        CHUNKED + as_chunk(b"".join(EVENTS[:2])),
        CHUNKED + as_chunk(b"".join(EVENTS[:2]) + b'data: {"half'),
        CHUNKED + as_chunk(b"".join(EVENTS[:2])) + b"ffff\r\ndata",
        CHUNKED + as_chunk(b"".join(EVENTS[:2])) + b"0\r\n\r\n",
    ],
)
async def test_a_stream_that_breaks_off_ends_with_one_error_event(tmp_path: Path, sent: bytes) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(sent)

    async with raw_upstream(cut) as url, running_gateway(one_model(url), tmp_path) as gateway:
        async with gateway.post(body=chat(stream=True)) as response:
            assert response.status == 200
            text = await response.read()
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    expected = b"".join(EVENTS[:2])
    assert text.startswith(expected)
    # What was cut in half is not dispatched by any client: it never got its blank line.
    rest = text.removeprefix(expected)
    events = [block for block in rest.split(b"\n\n") if block]
    error = orjson.loads(events[-1].rpartition(b"data: ")[2])["error"]
    assert error["type"] == "server_error" and error["code"].startswith("upstream_")
    assert b"[DONE]" not in text and rest.count(b'"error"') == 1
    assert len(events) == 1
    assert record["error"] is not None and record["status"] == 200


async def test_a_stream_that_pauses_too_long(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async def pause(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        await asyncio.Event().wait()
        return response

    upstream.reply = pause
    timeouts = "connect: 1, first_byte: 20, idle: 0.1"
    async with running_gateway(one_model(upstream.base_url, timeouts), tmp_path) as gateway:
        async with gateway.post(body=chat(stream=True)) as response:
            text = await response.read()
        await upstream.left.wait()
    assert text.startswith(EVENTS[0])
    assert orjson.loads(text.removeprefix(EVENTS[0] + b"data: "))["error"]["code"] == "upstream_timeout"


@pytest.mark.parametrize("first", [b"data: <html>\n\n", b"data: {\n\n"])
async def test_a_stream_that_begins_with_garbage_is_an_error_answer(
    gateway: RunningGateway, upstream: ScriptedUpstream, first: bytes
) -> None:
    async def garbage(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(first)
        return response

    upstream.reply = garbage
    status, error = await outcome(gateway, stream=True)
    assert (status, error["code"]) == (502, "upstream_invalid_response")


async def test_garbage_later_on_is_an_error_event(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def garbage(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        # In one read: what is good of it still arrives.
        await response.write(EVENTS[0] + b"data: <html>\n\n")
        return response

    upstream.reply = garbage
    async with gateway.post(body=chat(stream=True)) as response:
        text = await response.read()
    assert text.startswith(EVENTS[0])
    assert b'"code":"upstream_invalid_response"' in text


async def test_an_empty_stream(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    async def nothing(request: web.Request, body: bytes) -> web.StreamResponse:
        return await begin_stream(request)

    upstream.reply = nothing
    status, error = await outcome(gateway, stream=True)
    assert (status, error["code"]) == (502, "upstream_incomplete")


async def test_an_event_without_end(
    gateway: RunningGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstreams.events.MAX_EVENT_BYTES", 1000)

    async def endless(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        while True:
            await response.write(b"x" * 100)

    upstream.reply = endless
    async with gateway.post(body=chat(stream=True)) as response:
        assert b'"code":"upstream_invalid_response"' in await response.read()
    await upstream.left.wait()


@pytest.mark.parametrize("finished", [False, True])
async def test_events_in_one_read_with_one_that_is_too_large(
    gateway: RunningGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    monkeypatch.setattr("gateway.upstreams.events.MAX_EVENT_BYTES", 1000)
    good = b"".join(EVENTS) + (DONE if finished else b"")

    async def at_once(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(good + b"data: " + b"x" * 1000 + b"\n\n")
        return response

    upstream.reply = at_once
    async with gateway.post(body=chat(stream=True)) as response:
        text = await response.read()
    # After `[DONE]` nothing is a failure any more.
    assert text.startswith(good) and (text == good) == finished
    assert (b'"code":"upstream_invalid_response"' in text) != finished


async def test_an_answer_without_end(
    gateway: RunningGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstreams.http.MAX_ANSWER_BYTES", 1000)
    upstream.reply = json_reply(b'{"x":"' + b"x" * 2000 + b'"}')
    assert (await outcome(gateway))[0] == 502


async def test_an_error_event_of_the_upstream_passes_and_is_counted(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    event = b'data: {"error":{"message":"Out of memory.","type":"server_error"}}\n\n'

    async def fail_inside(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0] + event)
        return response

    upstream.reply = fail_inside
    async with gateway.post(body=chat(stream=True)) as response:
        assert await response.read() == EVENTS[0] + event
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert record["calls"][0]["error"] == record["error"] == "error_event"


async def test_an_answer_that_is_compressed_unasked(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = json_reply(gzip.compress(completion()), content_encoding="gzip")
    async with gateway.post() as response:
        assert (response.status, await response.read()) == (200, completion())
        assert "content-encoding" not in response.headers
    assert upstream.received[0].headers["accept-encoding"] == "identity"


async def test_a_bomb_meets_the_bound_of_answers(
    gateway: RunningGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstreams.http.MAX_ANSWER_BYTES", 1 << 20)
    upstream.reply = json_reply(gzip.compress(bytes(1 << 24)), content_encoding="gzip")
    status, error = await outcome(gateway)
    assert (status, error["code"]) == (502, "upstream_invalid_response")


async def test_an_encoding_that_nobody_knows(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    upstream.reply = json_reply(b"\x0b\x02\x80", content_encoding="br")
    status, error = await outcome(gateway)
    assert (status, error["code"]) == (502, "upstream_invalid_response")


async def test_a_header_block_without_end(tmp_path: Path) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x: y\r\n" * 100)
            await writer.drain()

    async with raw_upstream(endless) as url, running_gateway(one_model(url), tmp_path) as gateway:
        status, error = await outcome(gateway)
    assert (status, error["code"]) == (502, "upstream_invalid_response")
