"""An upstream whose model has a context window: it counts a token for every four characters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.gateway.support.upstream import DONE, Reply, begin_stream, chunk, completion, usage_chunk

CHARS_PER_TOKEN = 4


def tokens_of(body: dict[str, Any]) -> int:
    """The tokens of a chat as this upstream counts them."""
    chars = 0
    for message in body["messages"]:
        content = message.get("content") or ""
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        chars += sum(map(len, parts)) + 16
    return chars // CHARS_PER_TOKEN


def vllm_refusal(window: int, tokens: int) -> bytes:
    """The error as vLLM words it."""
    message = (
        f"This model's maximum context length is {window} tokens. However, your request has {tokens} input "
        "tokens. Please reduce the length of the input messages."
    )
    return json.dumps({"error": {"message": message, "type": "BadRequestError", "code": 400}}).encode()


@dataclass
class Windowed:
    """The script: `windows` has each upstream model's window; those it refused and those it answered."""

    windows: dict[str, int]
    say: Callable[[dict[str, Any]], str] = lambda body: "The tower was built in 1702."
    refusal: Callable[[int, int], bytes] = vllm_refusal
    refused: list[dict[str, Any]] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """Answers wait for it, if there is one,"""
    held: Callable[[dict[str, Any]], bool] = lambda body: True
    """those to these requests."""
    waiting: int = 0
    most_waiting: int = 0

    def reply(self) -> Reply:
        """What a scripted upstream answers with."""

        async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
            body = json.loads(received)
            tokens, window = tokens_of(body), self.windows[body["model"]]
            answer = body.get("max_completion_tokens") or body.get("max_tokens") or 1
            if tokens + answer > window:
                self.refused.append(body)
                refusal = self.refusal(window, tokens)
                return web.Response(status=400, body=refusal, content_type="application/json")
            self.answered.append(body)
            if self.hold is not None and self.held(body):
                self.waiting += 1
                self.most_waiting = max(self.waiting, self.most_waiting)
                try:
                    await self.hold.wait()
                finally:
                    self.waiting -= 1
            usage = {"prompt_tokens": tokens, "completion_tokens": 8, "total_tokens": tokens + 8}
            if not body.get("stream"):
                whole = completion(self.say(body), usage=usage)
                return web.Response(body=whole, content_type="application/json")
            response = await begin_stream(request)
            await response.write(chunk({"role": "assistant", "content": ""}))
            await response.write(chunk({"content": self.say(body)}))
            await response.write(chunk({}, "stop"))
            if (body.get("stream_options") or {}).get("include_usage"):
                await response.write(usage_chunk(usage))
            await response.write(DONE)
            return response

        return reply
