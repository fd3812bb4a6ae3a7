"""Upstream doubles on real sockets: one that speaks OpenAI by script, one that speaks any bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Reply = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]

USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


def completion(text: str = "Hello!", **more: Any) -> bytes:
    """A chat completion as OpenAI writes it: odd spacing and unknown fields included."""
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-x-2026",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": USAGE,
            "service_tier": "default",
            **more,
        },
        indent=2,
        ensure_ascii=False,
    ).encode()


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    """One event of a streamed chat completion."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-x-2026",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        **more,
    }
    return b"data: " + json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def usage_chunk(usage: dict[str, Any] | None = None) -> bytes:
    """The closing event that carries the usage and no choices."""
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage or USAGE}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
EVENTS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Grüße"}),
    chunk({"content": " 🌊"}),
    chunk({}, "stop"),
]


def json_reply(body: bytes, status: int = 200, **headers: str) -> Reply:
    """Answer with one body."""

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        return web.Response(
            status=status,
            body=body,
            headers={
                "content-type": "application/json",
                **{k.replace("_", "-"): v for k, v in headers.items()},
            },
        )

    return reply


def stream_reply(*events: bytes) -> Reply:
    """Answer with these events; usage is added if it was asked for, as OpenAI does it."""

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        asked = (json.loads(received).get("stream_options") or {}).get("include_usage")
        for event in events or EVENTS:
            if asked:
                event = event.removesuffix(b"}\n\n") + b',"usage":null}\n\n'
            await response.write(event)
        if asked:
            await response.write(usage_chunk())
        await response.write(DONE)
        return response

    return reply


async def begin_stream(request: web.Request) -> web.StreamResponse:
    """Send the head of a stream."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


@dataclass
class Received:
    """A request as the upstream saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedUpstream:
    """Answers every POST with `reply`, and remembers what it got and who left."""

    url: str = ""
    reply: Reply = field(default_factory=lambda: json_reply(completion()))
    models: Reply = field(default_factory=lambda: json_reply(b'{"object":"list","data":[]}'))
    received: list[Received] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request's client closed the connection before its answer was complete."""

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.method, request.path, headers, body))
        self.arrived.set()
        try:
            reply = self.models if request.method == "GET" else self.reply
            return await reply(request, body)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise


@asynccontextmanager
async def scripted_upstream(port: int = 0) -> AsyncIterator[ScriptedUpstream]:
    """Run a scripted upstream, on a free port unless it is given one."""
    upstream = ScriptedUpstream()
    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/v1/{tail:.*}", upstream.handle)
    app.router.add_post("/tokenize", upstream.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield upstream
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_upstream(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Run a server that does to each connection what `script` says, and closes it; gives its base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1"


async def read_request(reader: asyncio.StreamReader) -> None:
    """Read one HTTP request from a raw connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.split(b":")[1]))
