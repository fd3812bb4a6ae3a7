"""The dear model of the `roi` benchmark: takes the time and the money that a large hosted model takes.

    python -m benchmarks.peers.mock_paid PORT TABLE

It speaks OpenAI's wire format: usage with cached tokens, tool calls. TABLE is JSON: {key: message}, where the
key is made of a request's last user message and the number of its messages (`key_of`); a request that is not
in it is refused with 400, which counts as an error. Tokens are characters by four. A prompt cache holds what
each API key has sent before, in blocks of 128 tokens from 1,024 on, as OpenAI's does; the time to the first
token is that for what it does not hold. `GET /bill` says what the key has used: by that, and not by what a
gateway says, the benchmark counts money. Authorization is any key that begins with `sk-roi-`.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from aiohttp import web

MODEL = "huge"
FIRST_TOKEN_S = 0.3
S_PER_TOKEN_READ = 0.00005
S_PER_TOKEN_WRITTEN = 0.008
CHARS_PER_TOKEN = 4
BLOCK, LEAST_CACHED = 128, 1024


class Bill(msgspec.Struct):
    """What one key has used."""

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def less(self, before: Bill) -> Bill:
        """Return what was used since."""
        return Bill(*(now - then for now, then in zip(_numbers(self), _numbers(before), strict=True)))


def _numbers(bill: Bill) -> tuple[int, ...]:
    numbers: tuple[int, ...] = msgspec.structs.astuple(bill)
    return numbers


class _Asked(msgspec.Struct):
    model: str
    messages: list[dict[str, Any]]
    tools: Any = None


_DECODE = msgspec.json.Decoder(_Asked).decode
_ENCODE = msgspec.json.encode


def tokens_of(text: str) -> int:
    """Return how many tokens a text has."""
    return -(-len(text) // CHARS_PER_TOKEN)


def key_of(messages: list[dict[str, Any]]) -> str:
    """Return what the answer to a conversation is found by."""
    asked = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    return f"{len(messages)} {asked}"


class Paid:
    """Answers from a table, slowly, and writes a bill."""

    def __init__(self, table: dict[str, dict[str, Any]]) -> None:
        self._table = table
        self._bills: dict[str, Bill] = {}
        self._held: set[tuple[str, bytes]] = set()

    async def chat(self, request: web.Request) -> web.Response:
        """`POST /v1/chat/completions`"""
        key = _key(request)
        try:
            asked = _DECODE(await request.read())
            message = self._table[key_of(asked.messages)]
        except (msgspec.DecodeError, KeyError, StopIteration) as error:
            return _refuse(400, f"not a request of this benchmark: {error}")
        if key is None or asked.model != MODEL:
            return _refuse(401 if key is None else 404, "the key or the model is not known here")
        prompt = "".join(_ENCODE(part).decode() for part in (asked.tools, *asked.messages))
        read, held = tokens_of(prompt), self._cached(key, prompt)
        calls = message.get("tool_calls")
        said = _ENCODE(calls).decode() if calls else message["content"]
        written = tokens_of(said)
        seconds = FIRST_TOKEN_S + (read - held) * S_PER_TOKEN_READ + written * S_PER_TOKEN_WRITTEN
        await asyncio.sleep(seconds)
        bill = self._bills.setdefault(key, Bill())
        bill.requests += 1
        bill.input_tokens += read
        bill.cached_tokens += held
        bill.output_tokens += written
        return web.Response(body=_reply(message, read, held, written), content_type="application/json")

    def _cached(self, key: str, prompt: str) -> int:
        """Return how many tokens of a prompt are held for a key, and hold it from now on."""
        digest, cached, still = hashlib.sha256(), 0, True
        size = BLOCK * CHARS_PER_TOKEN
        for end in range(size, len(prompt) + 1, size):
            digest.update(prompt[end - size : end].encode())
            block = (key, digest.copy().digest())
            still = still and block in self._held
            cached += BLOCK if still else 0
            self._held.add(block)
        return cached if cached >= LEAST_CACHED else 0

    async def bill(self, request: web.Request) -> web.Response:
        """`GET /bill`"""
        bill = self._bills.get(_key(request) or "", Bill())
        return web.Response(body=_ENCODE(bill), content_type="application/json")


def _key(request: web.Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key if scheme == "Bearer" and key.startswith("sk-roi-") else None


def _reply(message: dict[str, Any], read: int, held: int, written: int) -> bytes:
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return _ENCODE(
        {
            "id": "chatcmpl-roi",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
                "prompt_tokens_details": {"cached_tokens": held},
            },
        }
    )


def _refuse(status: int, why: str) -> web.Response:
    error = {"message": f"mock: {why}", "type": "invalid_request_error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status)


def main(port: int, table: str) -> None:
    """Serve until the process is ended."""
    paid = Paid(msgspec.json.decode(Path(table).read_bytes()))
    app = web.Application(client_max_size=2**24)
    app.add_routes([web.post("/v1/chat/completions", paid.chat), web.get("/bill", paid.bill)])
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
