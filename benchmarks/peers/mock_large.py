"""The large model of the live cascade: speaks OpenAI's chat completions and has an answer for each question.

    python -m benchmarks.peers.mock_large PORT TABLE

TABLE is a JSON object from question to answer; some of its answers are wrong, as those of a large model are.
A question that is not in it is refused with 400, which fails the run. Streams come word by word, with usage
if it is asked for. `GET /count` says what was answered: requests, prompt tokens and completion tokens.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from aiohttp import web

from benchmarks.peers import mock_openai

MODEL = "large-1"
_PIECE = re.compile(r"\s*\S+")


class Count(msgspec.Struct):
    """What was answered so far."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Mock:
    """Answers by the table, and counts."""

    def __init__(self, table: dict[str, str]) -> None:
        self._table = table
        self._count = Count()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`"""
        if request.headers.get("authorization") != f"Bearer {mock_openai.KEY}":
            return _refuse(401, "the key is not the upstream's")
        try:
            asked = mock_openai.decode_asked(await request.read())
            question = asked.messages[-1].content
            answer = self._table[question]
        except (msgspec.DecodeError, IndexError, KeyError) as error:
            return _refuse(400, f"no such question: {error}")
        if asked.model != MODEL:
            return _refuse(404, f"no model {asked.model}")
        usage = usage_of(question, answer)
        self._count.requests += 1
        self._count.prompt_tokens += usage["prompt_tokens"]
        self._count.completion_tokens += usage["completion_tokens"]
        if not asked.stream:
            return web.json_response(completion(answer, usage))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        wanted = bool(asked.stream_options and asked.stream_options.include_usage)
        for chunk in chunks(answer, usage if wanted else None):
            await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def count(self, request: web.Request) -> web.Response:
        """`GET /count`"""
        return web.Response(body=msgspec.json.encode(self._count), content_type="application/json")


def usage_of(question: str, answer: str) -> dict[str, int]:
    """Return what a request is charged for: words stand for tokens, and every message costs four."""
    prompt, completion_ = len(question.split()) + 4, len(answer.split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion_,
        "total_tokens": prompt + completion_,
    }


def completion(answer: str, usage: dict[str, int]) -> dict[str, Any]:
    """Return a whole answer."""
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _envelope("chat.completion") | {"choices": [choice], "usage": usage}


def chunks(answer: str, usage: dict[str, int] | None) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream, as OpenAI sends them."""
    envelope = _envelope("chat.completion.chunk")
    if usage is not None:
        envelope["usage"] = None
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _PIECE.findall(answer)]
    for delta in deltas:
        yield envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield envelope | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if usage is not None:
        yield envelope | {"choices": [], "usage": usage}


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-large", "object": kind, "created": 1_700_000_000, "model": MODEL}


def _refuse(status: int, why: str) -> web.Response:
    error = {"message": f"mock: {why}", "type": "invalid_request_error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status)


def main(port: int, table: Path) -> None:
    """Serve until the process is ended."""
    mock = Mock(msgspec.json.decode(table.read_bytes(), type=dict[str, str]))
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", mock.chat), web.get("/count", mock.count)])
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
