"""Routes and handlers of the engine's HTTP server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec
import structlog
from aiohttp import web

from backend_engine.errors import EngineError, EngineStopped
from backend_engine.protocol import parse_chat, parse_completion, parse_tokenize
from backend_engine.server.caller import Caller
from backend_engine.server.choice import Choice, Delta
from backend_engine.server.errors import describe, error_response
from backend_engine.server.generation import Generation, Generator
from backend_engine.server.kv_events import PATH as KV_EVENTS_PATH
from backend_engine.server.kv_events import KvEvents
from backend_engine.server.observe import Observer, server_timing
from backend_engine.server.reply_kinds import ChatReply, CompletionReply, ReplyKind
from telemetry import names
from telemetry.context import parse
from telemetry.metrics import EngineMetrics
from telemetry.spans import Kind, Span, Tracer

MAX_BODY_BYTES = 32 * 1024 * 1024
CLIENT_CLOSED_REQUEST = 499
_log = structlog.get_logger("engine.server")
_encode = msgspec.json.Encoder().encode


class EngineServer:
    """Serves one model; `ready` turns false when the server begins to drain."""

    def __init__(
        self,
        generator: Generator,
        kv_events: KvEvents,
        model_name: str,
        metrics: EngineMetrics,
        tracer: Tracer,
    ) -> None:
        self._generator = generator
        self._kv_events = kv_events
        self._model_name = model_name
        self._metrics = metrics
        self._tracer = tracer
        self._created = int(time.time())
        self.draining = False

    def app(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[as_openai_errors])
        app.on_shutdown.append(self._kv_events.close)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completion),
                web.post("/tokenize", self._tokenize),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{id}", self._model),
                web.get("/health", self._health),
                web.get("/health/ready", self._ready),
                web.get("/metrics", self._metrics_page),
                web.get(KV_EVENTS_PATH, self._kv_events.handle),
            ]
        )
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        async def prepare(raw: bytes, caller: Caller) -> tuple[Generation, ReplyKind, bool, bool]:
            body = parse_chat(raw, self._model_name)
            generation = await self._generator.chat(body, caller)
            reply = ChatReply(body, self._generator.tokenizer)
            return generation, reply, bool(body.stream), body.include_usage

        return await self._answer(request, prepare)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        async def prepare(raw: bytes, caller: Caller) -> tuple[Generation, ReplyKind, bool, bool]:
            body = parse_completion(raw, self._model_name)
            generation = await self._generator.completion(body, caller)
            reply = CompletionReply(body, self._generator.tokenizer)
            return generation, reply, bool(body.stream), body.include_usage

        return await self._answer(request, prepare)

    async def _answer(
        self,
        request: web.Request,
        prepare: Callable[[bytes, Caller], Awaitable[tuple[Generation, ReplyKind, bool, bool]]],
    ) -> web.StreamResponse:
        """Run one generation from body to last byte, inside its server span."""
        remote = parse(request.headers.get("traceparent"), request.headers.get("tracestate"))
        span = self._tracer.start(names.http_span("POST", request.path), kind=Kind.SERVER, parent=remote)
        # Both routes are plain paths, so a path that got here is its own template.
        span.update({names.HTTP_REQUEST_METHOD: "POST", names.HTTP_ROUTE: request.path})
        observer = Observer(self._metrics, self._tracer, span)
        try:
            caller = Caller.of(request.headers)
            if self.draining:
                raise EngineStopped("the engine is shutting down")
            generation, reply, stream, include_usage = await prepare(await request.read(), caller)
            observer.begin(generation.requests)
            async with aclosing(self._generator.run(generation, observer)) as deltas:
                if stream:
                    return await _stream(request, generation, reply, deltas, include_usage, span)
                async for _ in deltas:
                    pass
            span.set(names.HTTP_RESPONSE_STATUS_CODE, 200)
            return web.Response(
                body=_encode(reply.whole(generation)),
                content_type="application/json",
                headers={"server-timing": server_timing(generation.requests)},
            )
        except (asyncio.CancelledError, ConnectionError):
            span.fail(names.CLIENT_DISCONNECT, "the client left before the answer was complete")
            raise
        except Exception as error:
            status, _ = describe(error)
            span.set(names.HTTP_RESPONSE_STATUS_CODE, status)
            if status >= 500:
                span.fail(type(error).__name__)
            raise
        finally:
            observer.finish()
            span.end()

    async def _tokenize(self, request: web.Request) -> web.Response:
        """vLLM's way to count: what the model would read of a chat or a prompt, without running it."""
        body = parse_tokenize(await request.read(), self._model_name)
        tokens = await self._generator.tokens(body)
        answer = {"count": len(tokens), "max_model_len": self._generator.window, "tokens": tokens}
        return web.Response(body=_encode(answer), content_type="application/json")

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._model_card()]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name != self._model_name:
            raise web.HTTPNotFound(text=f"The model '{name}' does not exist.")
        return web.json_response(self._model_card())

    def _model_card(self) -> dict[str, object]:
        return {
            "id": self._model_name,
            "object": "model",
            "created": self._created,
            "owned_by": "forebay",
            "max_model_len": self._generator.window,
        }

    async def _health(self, request: web.Request) -> web.Response:
        if not self._generator.engine.healthy:
            raise EngineStopped("the engine's loop is not running")
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        if self.draining:
            raise EngineStopped("the engine is shutting down")
        return await self._health(request)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.render(request.headers.get("accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})


@web.middleware
async def as_openai_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer an error in OpenAI's words, and nothing to a client that is gone."""
    try:
        return await handler(request)
    except (web.HTTPException, EngineError) as error:
        return error_response(error)
    except asyncio.CancelledError:
        raise
    except ConnectionError:
        # The client left while it was written to, and nobody reads this. Raised on, it would be aiohttp's
        # error in the log.
        return web.Response(status=CLIENT_CLOSED_REQUEST)
    except Exception as error:
        _log.exception("request_failed", path=request.path)
        return error_response(error)


async def _stream(
    request: web.Request,
    generation: Generation,
    reply: ReplyKind,
    deltas: AsyncGenerator[tuple[Choice, Delta]],
    include_usage: bool,
    span: Span,
) -> web.StreamResponse:
    """Send deltas as server-sent events; the status waits for the first, so a refusal has its own."""
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    )
    opened: set[int] = set()
    try:
        async for choice, delta in deltas:
            if not response.prepared:
                await response.prepare(request)
            events = b""
            if choice.index not in opened:
                opened.add(choice.index)
                if (opening := reply.opening(choice)) is not None:
                    events += _event(opening)
            events += b"".join(map(_event, reply.chunks(choice, delta)))
            if events:
                await response.write(events)
    except EngineError as error:
        if not response.prepared:
            raise
        span.fail(type(error).__name__)
        await response.write(_event(describe(error)[1]))
        await response.write_eof()
        return response
    end = _event(reply.usage_chunk(generation)) if include_usage else b""
    await response.write(end + b"data: [DONE]\n\n")
    span.set(names.HTTP_RESPONSE_STATUS_CODE, 200)
    await response.write_eof()
    return response


def _event(body: dict[str, object]) -> bytes:
    return b"data: " + _encode(body) + b"\n\n"
