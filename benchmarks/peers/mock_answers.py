"""The upstream of the cache benchmark: gives each question the answer that a table has for it, and counts.

    python -m benchmarks.peers.mock_answers PORT TABLE

TABLE is JSON: {"questions": {text: number}, "answers": [text, …]}. Questions that mean the same have one
answer, so that what a cache learns by comparing answers is true. A question that is not in the table is
refused with 400, which fails the run. `GET /count` says how many were answered.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from benchmarks.peers import mock_openai


class Table(msgspec.Struct):
    """What is asked, and the place of its answer."""

    questions: dict[str, int]
    answers: list[str]


class _Message(msgspec.Struct):
    role: str
    content: str


class _Asked(msgspec.Struct):
    model: str
    messages: list[_Message]


_DECODE = msgspec.json.Decoder(_Asked).decode


def reply(answer: str) -> bytes:
    """Return an answer of chat completions as JSON."""
    return msgspec.json.encode(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": mock_openai.MODEL,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 60, "total_tokens": 80},
        }
    )


class Mock:
    """Counts what it answers."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._answered = 0

    async def chat(self, request: web.Request) -> web.Response:
        """`POST /v1/chat/completions`"""
        if request.headers.get("authorization") != f"Bearer {mock_openai.KEY}":
            return web.json_response({"error": {"message": "mock: not the upstream's key"}}, status=401)
        try:
            asked = _DECODE(await request.read())
            place = self._table.questions[asked.messages[-1].content]
        except (msgspec.DecodeError, KeyError):
            return web.json_response({"error": {"message": "mock: no such question"}}, status=400)
        self._answered += 1
        return web.Response(body=reply(self._table.answers[place]), content_type="application/json")

    async def count(self, request: web.Request) -> web.Response:
        """`GET /count`"""
        return web.json_response(self._answered)


def main(port: int, table: Path) -> None:
    """Serve until the process is ended."""
    mock = Mock(msgspec.json.decode(table.read_bytes(), type=Table))
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", mock.chat), web.get("/count", mock.count)])
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
