"""The upstream of the gateway benchmark: answers at once, but only to requests that are right in every part.

    python -m benchmarks.peers.mock_openai PORT

A wrong key, path or body is refused with 401 or 400, which fails the run. `GET /count` says how many requests
were answered. It also takes spans, so that a traced gateway has where to send them.
"""

from __future__ import annotations

import sys

import msgspec
import uvloop
from aiohttp import web

KEY = "sk-mock-upstream"
MODEL = "bench"
EVENTS = 256
REPLY_BYTES = 8 * 1024


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Message(msgspec.Struct):
    role: str
    content: str


class Asked(msgspec.Struct):
    """What of a request is read."""

    model: str
    messages: list[_Message]
    stream: bool = False
    stream_options: _Options | None = None


decode_asked = msgspec.json.Decoder(Asked).decode
_USAGE = {"prompt_tokens": 20, "completion_tokens": EVENTS, "total_tokens": 20 + EVENTS}


def reply() -> bytes:
    """Return the whole answer: 8 KB of JSON."""
    body = msgspec.json.encode(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "TEXT"}, "finish_reason": "stop"}
            ],
            "usage": _USAGE,
        }
    )
    return body.replace(b"TEXT", b"water " * ((REPLY_BYTES - len(body)) // 6))


def events(usage: bool) -> list[bytes]:
    """Return the streamed answer: 256 events with content, and what OpenAI puts around them."""
    choices: list[dict[str, object]] = [
        {"index": 0, "delta": {"content": f" drop{number}"}, "finish_reason": None}
        for number in range(EVENTS)
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    envelope = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
    }
    chunks: list[dict[str, object]] = [{**envelope, "choices": [choice]} for choice in choices]
    if usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**envelope, "choices": [], "usage": _USAGE})
    return [b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


class Mock:
    """Counts what it answers."""

    def __init__(self) -> None:
        self._answered = 0
        self._reply = reply()
        self._events = {usage: events(usage) for usage in (False, True)}

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`"""
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _refuse(401, "the key is not the upstream's")
        try:
            asked = decode_asked(await request.read())
        except msgspec.DecodeError as error:
            return _refuse(400, str(error))
        if asked.model != MODEL or not asked.messages or not asked.messages[-1].content:
            return _refuse(400, "the model or the messages are not those of the benchmark")
        self._answered += 1
        if not asked.stream:
            return web.Response(body=self._reply, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in self._events[bool(asked.stream_options and asked.stream_options.include_usage)]:
            await response.write(event)
        await response.write_eof()
        return response

    async def count(self, request: web.Request) -> web.Response:
        """`GET /count`"""
        return web.json_response(self._answered)

    async def spans(self, request: web.Request) -> web.Response:
        """`POST /v1/traces`"""
        await request.read()
        return web.Response(content_type="application/x-protobuf")


def _refuse(status: int, why: str) -> web.Response:
    error = {"message": f"mock: {why}", "type": "invalid_request_error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status)


def main(port: int) -> None:
    """Serve until the process is ended."""
    mock = Mock()
    app = web.Application(client_max_size=2**24)
    app.add_routes(
        [
            web.post("/v1/chat/completions", mock.chat),
            web.post("/v1/traces", mock.spans),
            web.get("/count", mock.count),
        ]
    )
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
