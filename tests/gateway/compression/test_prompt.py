"""Only texts of user and tool messages are handed out, and where they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.compression.prompt import NotReadable, read_messages

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def texts(messages: list[Any], **dumps: Any) -> list[list[str]]:
    body = b"  " + json.dumps(messages, **dumps).encode() + b" "
    found = read_messages(body, 2, len(body) - 1)
    assert all(json.loads(body[text.start : text.end]) == text.value for one in found for text in one.texts)
    return [[text.value for text in message.texts] for message in found]


def test_user_and_tool_messages_have_texts_and_no_others() -> None:
    assert texts(
        [
            {"role": "system", "content": "s"},
            {"role": "developer", "content": "d"},
            {"role": "user", "content": "Grüße\n", "name": "n"},
            {"role": "assistant", "content": "a", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "out"},
            {"role": "later", "content": "x"},
        ],
        indent=2,
    ) == [[], [], ["Grüße\n"], [], ["out"], []]


def test_parts_that_are_no_text_are_not_handed_out() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    parts = [
        {"type": "text", "text": "one"},
        picture,
        {"text": "two", "type": "text"},
        {"type": "new", "text": "x"},
    ]
    assert texts([{"role": "user", "content": parts}]) == [["one", "two"]]


@pytest.mark.parametrize("content", [None, 7, {}])
def test_contents_of_another_shape_are_left_alone(content: Any) -> None:
    assert texts([{"role": "user", "content": content}]) == [[]]


def test_what_the_upstream_caches_is_not_handed_out() -> None:
    marked = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [marked]},
        {"role": "user", "content": "c"},
    ]
    assert texts(messages) == [[], [], ["c"]]


@pytest.mark.parametrize("body", [b"{}", b"[1]", b'[{"role":"user","role":"tool","content":"x"}]', b'["a"]'])
def test_messages_of_another_shape_are_refused(body: bytes) -> None:
    with pytest.raises(NotReadable):
        read_messages(body, 0, len(body))
