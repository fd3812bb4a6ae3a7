"""Answers as OpenAI's own servers write them, for tests with OpenAI's clients.

Shapes, spacing and fields are those of the public API: compact JSON, tool calls whose arguments come in
fragments, `"usage": null` on every chunk of a stream that was asked for its usage, base64 embeddings.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from aiohttp import web

from tests.gateway.support.upstream import DONE, ScriptedUpstream, begin_stream

VECTOR = [0.5, -1.25, 2.0]
TOOL_ARGUMENTS = '{"city":"Zürich","unit":"celsius"}'
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


def speak_openai(upstream: ScriptedUpstream) -> None:
    """Let the upstream answer as OpenAI would: with a tool call if there are tools, by a schema if given."""
    upstream.reply = _reply


async def _reply(request: web.Request, received: bytes) -> web.StreamResponse:
    asked = json.loads(received)
    if request.path.endswith("/embeddings"):
        return _json(_embeddings(asked))
    message = _message(asked)
    if asked.get("stream"):
        return await _stream(request, asked, message)
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return _json({**_envelope("chat.completion"), "choices": [choice], "usage": _usage()})


def _message(asked: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    if asked.get("tools") and asked["messages"][-1]["role"] != "tool":
        call = {"name": asked["tools"][0]["function"]["name"], "arguments": TOOL_ARGUMENTS}
        return {**message, "tool_calls": [{"id": "call_1", "type": "function", "function": call}]}
    if asked.get("response_format", {}).get("type") == "json_schema":
        return {**message, "content": TOOL_ARGUMENTS}
    return {**message, "content": "Grüße aus Zürich 🌊"}


async def _stream(request: web.Request, asked: dict[str, Any], message: dict[str, Any]) -> web.StreamResponse:
    response = await begin_stream(request)
    with_usage = (asked.get("stream_options") or {}).get("include_usage")
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": message["content"] and "", "refusal": None}
    ]
    for call in message.get("tool_calls", ()):
        deltas.append(
            {"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]}
        )
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in _parts(TOOL_ARGUMENTS)
        ]
    deltas += [{"content": part} for part in _parts(message["content"] or "")]
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish})
    chunks: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
    if with_usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks] + [{"choices": [], "usage": _usage()}]
    for chunk in chunks:
        await response.write(b"data: " + _compact({**_envelope("chat.completion.chunk"), **chunk}) + b"\n\n")
    await response.write(DONE)
    return response


def _embeddings(asked: dict[str, Any]) -> dict[str, Any]:
    inputs = asked["input"]
    count = len(inputs) if isinstance(inputs, list) and not isinstance(inputs[0], int) else 1
    packed = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    vector = packed if asked.get("encoding_format") == "base64" else VECTOR
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    usage = {"prompt_tokens": 3 * count, "total_tokens": 3 * count}
    return {"object": "list", "data": data, "model": asked["model"], "usage": usage}


def _envelope(kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-CabcDEF",
        "object": kind,
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }


def _usage() -> dict[str, Any]:
    return {
        "prompt_tokens": 21,
        "completion_tokens": 9,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _parts(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _json(value: object) -> web.Response:
    return web.Response(body=_compact(value), content_type="application/json")
