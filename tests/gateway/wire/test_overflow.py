"""Errors about the context window, as the servers word them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.wire.overflow import overflow_of

OPENAI = {
    "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 "
    "tokens. Please reduce the length of the messages.",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}


@pytest.mark.parametrize(
    ("error", "window", "tokens"),
    [
        (OPENAI, 8192, 9001),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4800 in "
            "the messages, 200 in the completion). Please reduce the length of the messages or completion.",
            4096,
            4800,
        ),
        (
            "This model's maximum context length is 4096 tokens. However, your request has 5,000 input "
            "tokens.",
            4096,
            5000,
        ),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 4096, 5000),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
        ("prompt is too long: 210000 tokens > 200000 maximum", 200000, 210000),
        ("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000", 200000, 188240),
        (
            {
                "code": 400,
                "message": "the request exceeds the available context size. try increasing the context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 5000,
                "n_ctx": 4096,
            },
            4096,
            5000,
        ),
        (
            "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
            4096,
            5000,
        ),
        ("Input validation error: `inputs` must have less than 4096 tokens. Given: 5000", 4096, 5000),
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            1048576,
            1200000,
        ),
        (
            "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context "
            "length",
            32768,
            40000,
        ),
        (
            "This model's KV cache is 2048 tokens, but you requested 3000 (2900 in the prompt, 100 …)",
            2048,
            2900,
        ),
        ("Please reduce the length of the messages or completion.", None, None),
        ({"message": "Too much.", "code": "context_length_exceeded"}, None, None),
    ],
)
def test_every_servers_words_are_understood(error: Any, window: int | None, tokens: int | None) -> None:
    body = json.dumps({"error": {"message": error} if isinstance(error, str) else error}).encode()
    found = overflow_of(400, body)
    assert found is not None and (found.window, found.tokens) == (window, tokens)


@pytest.mark.parametrize("key", ["error", "message", "detail"])
def test_the_sentence_may_stand_elsewhere(key: str) -> None:
    found = overflow_of(422, json.dumps({key: OPENAI["message"], "object": "error"}).encode())
    assert found is not None and found.window == 8192


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error": {"message": "temperature must be below 2", "code": null}}'),
        (400, b"maximum context length is 4096"),
        (400, b'{"error": 5}'),
        (400, b"[]"),
        (429, json.dumps({"error": OPENAI}).encode()),
        (200, json.dumps({"error": OPENAI}).encode()),
        (400, b'{"error": {"message": ' + b"[" * 5000),
    ],
)
def test_other_errors_are_about_something_else(status: int, body: bytes) -> None:
    assert overflow_of(status, body) is None
