"""Answers of upstreams for tests."""

from __future__ import annotations

import json
from typing import Any

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": 0.00125}


def chat(content: Any = "Hello", *, finish: str | None = "stop", message: Any = None, **top: Any) -> bytes:
    """A whole answer of the chat endpoint; `message` adds members to the message."""
    said = {"role": "assistant", "content": content, "refusal": None, "annotations": [], **(message or {})}
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish}
    answer = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4o-2024-08-06",
        "choices": [choice],
        "usage": USAGE,
        "system_fingerprint": "fp_1",
        **top,
    }
    return json.dumps(answer).encode()


def completion(text: str = "Hello", *, finish: str = "stop") -> bytes:
    """A whole answer of the completions endpoint."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    answer = {"id": "cmpl-upstream", "object": "text_completion", "created": 1, "model": "m"}
    return json.dumps({**answer, "choices": [choice], "usage": USAGE}).encode()


def chunk(delta: Any = None, *, finish: str | None = None, index: int = 0, **top: Any) -> bytes:
    """The data of one event of a chat stream."""
    choice = {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    answer = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "choices": [choice],
        **top,
    }
    return json.dumps(answer).encode()


def stream(*pieces: str, finish: str = "stop", usage: bool = True) -> list[bytes]:
    """The data of a whole chat stream without `[DONE]`."""
    events = [chunk({"role": "assistant", "content": "", "refusal": None})]
    events += [chunk({"content": piece}) for piece in pieces]
    events.append(chunk(finish=finish))
    if usage:
        events.append(chunk(choices=[], usage=USAGE))
    return events
