"""What a request leaves in a trace."""

from __future__ import annotations

import pytest

from telemetry.spans import Kind, RecordedSpan
from tests.gateway.support.running import RunningGateway, chat
from tests.gateway.support.upstream import EVENTS, ScriptedUpstream, begin_stream, json_reply, stream_reply

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def pair(gateway: RunningGateway) -> tuple[RecordedSpan, RecordedSpan]:
    """The server span and the one client span under it."""
    client, server = gateway.spans
    assert (server.kind, client.kind) == (Kind.SERVER, Kind.CLIENT)
    assert client.parent is not None and client.parent.span_id == server.context.span_id
    assert server.start_ns <= client.start_ns <= client.end_ns <= server.end_ns
    return server, client


@pytest.mark.parametrize("stream", [False, True])
async def test_one_trace_from_the_caller_to_the_upstream(
    traced: RunningGateway, upstream: ScriptedUpstream, stream: bool
) -> None:
    if stream:
        upstream.reply = stream_reply()
    async with traced.post(
        body=chat("auto", stream=stream, temperature=0.5, max_tokens=7, seed=1),
        traceparent=PARENT,
        tracestate="vendor=1",
    ) as response:
        await response.read()
    server, client = pair(traced)
    assert (server.name, client.name) == ("POST /v1/chat/completions", "chat real-m")
    assert server.parent is not None and server.parent.span_id == "b7ad6b7169203331"
    assert server.context.trace_id == client.context.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert response.headers["x-forebay-trace-id"] == server.context.trace_id
    sent = upstream.received[0].headers
    assert sent["traceparent"] == client.context.traceparent() and sent["tracestate"] == "vendor=1"
    assert client.attributes["gen_ai.usage.input_tokens"] == 10
    assert client.attributes["gen_ai.usage.output_tokens"] == 2
    assert client.attributes["gen_ai.request.model"] == "real-m"
    assert client.attributes["gen_ai.request.temperature"] == 0.5
    assert client.attributes["gen_ai.request.max_tokens"] == 7
    assert client.attributes["gen_ai.request.stream"] is stream
    assert client.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert client.attributes["gen_ai.provider.name"] == "openai"
    assert ("gen_ai.response.time_to_first_chunk" in client.attributes) is stream
    assert not any(name.startswith("gen_ai.usage") for name in server.attributes)
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["forebay.route"] == "m"
    assert server.attributes["forebay.cost.usd"] == pytest.approx(14e-6)
    assert "error.type" not in server.attributes and "error.type" not in client.attributes


async def test_a_trace_that_the_caller_does_not_sample_is_not_recorded(
    traced: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async with traced.post(traceparent=PARENT.replace("-01", "-00")) as response:
        await response.read()
    assert traced.spans == []
    assert upstream.received[0].headers["traceparent"].endswith("-00")


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b'{"model":"*"}', 404)])
async def test_a_refused_request_is_a_server_span_without_an_error(
    traced: RunningGateway, body: bytes, status: int
) -> None:
    async with traced.post(body=body) as response:
        assert response.status == status
    (server,) = traced.spans
    assert server.attributes["http.response.status_code"] == status
    assert server.error is None and "error.type" not in server.attributes


async def test_an_upstreams_4xx_is_an_error_of_the_client_span_only(
    traced: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.reply = json_reply(b'{"error":{"message":"No."}}', 400)
    async with traced.post() as response:
        await response.read()
    server, client = pair(traced)
    assert client.attributes["error.type"] == "400"
    assert "error.type" not in server.attributes


@pytest.mark.parametrize(
    ("body", "status", "cause"),
    [(b'{"error":{"message":"No."}}', 500, "500"), (b"<html>", 200, "invalid_response")],
)
async def test_what_the_upstream_did_wrong_marks_both_spans(
    traced: RunningGateway, upstream: ScriptedUpstream, body: bytes, status: int, cause: str
) -> None:
    upstream.reply = json_reply(body, status)
    async with traced.post() as response:
        assert response.status >= 500
    server, client = pair(traced)
    assert server.attributes["error.type"] == client.attributes["error.type"] == cause


async def test_a_stream_that_breaks_off_marks_both_spans(
    traced: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def cut(request, body):
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        return response

    upstream.reply = cut
    async with traced.post(body=chat(stream=True)) as response:
        await response.read()
    server, client = pair(traced)
    assert server.attributes["error.type"] == client.attributes["error.type"] == "upstream_closed"
    assert server.attributes["http.response.status_code"] == 200


async def test_no_content_and_no_secret_in_spans_metrics_or_logs(
    traced: RunningGateway, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.reply = stream_reply()
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "canary-prompt"}]}
    for extra in ({}, {"stream": "canary-prompt"}, {"messages": "canary-prompt"}):
        async with traced.post(body={**body, **extra}, authorization="Bearer canary-key") as response:
            await response.read()
            request_id = response.headers["x-forebay-request-id"]
    seen = str([(span.name, span.attributes, span.events, span.error) for span in traced.spans])
    seen += await (await traced.get("/metrics")).text() + str(await traced.settled(request_id))
    captured = capsys.readouterr()
    seen += captured.out + captured.err
    assert "canary" not in seen and "Grüße" not in seen and "sk-upstream-secret" not in seen
