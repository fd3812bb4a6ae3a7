from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.reply import Reply, StreamedReply, ToolCall, read_reply
from router.after.logprobs import Token

TEXTS = st.lists(st.text(max_size=5), max_size=6)
CALLS = st.lists(st.tuples(st.text(max_size=4), st.lists(st.text(max_size=4), max_size=4)), max_size=3)
TOKENS = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]}


def chunk(**choice: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, **choice}]}).encode()


@given(TEXTS, CALLS, st.sampled_from(["stop", "tool_calls", None]))
def test_a_stream_says_what_the_whole_answer_says(
    texts: list[str], calls: list[tuple[str, list[str]]], finish: str | None
) -> None:
    streamed = StreamedReply()
    added = streamed.feed([chunk(delta={"role": "assistant"}, logprobs=TOKENS), None])
    for text in texts:
        added += streamed.feed([chunk(delta={"content": text})])
    for at, (name, parts) in enumerate(calls):
        streamed.feed([chunk(delta={"tool_calls": [{"index": at, "id": "i", "function": {"name": name}}]})])
        for part in parts:
            streamed.feed([chunk(delta={"tool_calls": [{"index": at, "function": {"arguments": part}}]})])
    streamed.feed([chunk(delta={}, finish_reason=finish), b'{"choices": [], "usage": {}}', b"[DONE]"])
    message = {
        "content": "".join(texts) or None,
        "tool_calls": [
            {"id": "i", "function": {"name": name, "arguments": "".join(parts)}} for name, parts in calls
        ],
    }
    whole = read_reply(chunk(message=message, finish_reason=finish, logprobs=TOKENS))
    assert streamed.whole() == whole
    assert whole == Reply(
        "".join(texts),
        [ToolCall(name, "".join(parts)) for name, parts in calls],
        finish,
        [Token(-0.5, (-1.0,), "a")],
    )
    assert added == whole.text


@pytest.mark.parametrize("data", [b"{", b'{"error": {"message": "oh"}}', b'{"choices": {}}', b"[]"])
def test_what_cannot_be_read_is_none(data: bytes) -> None:
    assert read_reply(data) is None
    streamed = StreamedReply()
    streamed.feed([chunk(delta={"content": "Hi"}), data])
    assert streamed.whole() is None
    assert StreamedReply().whole() is None and read_reply(b'{"choices": []}') is None


def test_only_the_first_choice_is_read() -> None:
    streamed = StreamedReply()
    streamed.feed([b'{"choices": [{"index": 1, "delta": {"content": "no"}}, {"delta": {"content": "yes"}}]}'])
    assert streamed.whole() == Reply("yes")
