from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.elements import NotAnArray
from gateway.wire.logprobs import ask_for_logprobs, events_without_logprobs, without_logprobs
from gateway.wire.members import members
from gateway.wire.splice import splice
from gateway.wire.sse import Event, SseParser, comment_event

LOGPROBS = {"content": [{"token": "\u00fc", "logprob": -0.25, "bytes": [195, 188], "top_logprobs": []}]}


def asking(body: bytes) -> bytes:
    return splice(body, ask_for_logprobs(body, members(body)))


def test_the_wish_is_added_behind_all_else() -> None:
    assert asking(b'{"model": "m", "seed": 1.0 }') == (
        b'{"model": "m", "seed": 1.0,"logprobs":true,"top_logprobs":5 }'
    )


@pytest.mark.parametrize("unsaid", [b"null", b"false"])
def test_a_wish_for_none_is_replaced(unsaid: bytes) -> None:
    body = b'{"logprobs": %b, "top_logprobs": null, "model": "m"}' % unsaid
    assert asking(body) == b'{"logprobs": true, "top_logprobs": 5, "model": "m"}'
    assert json.loads(asking(b'{"model":"m","logprobs":null}')) == {
        "model": "m",
        "logprobs": True,
        "top_logprobs": 5,
    }


@pytest.mark.parametrize("own", [b'"logprobs":true', b'"logprobs":1', b'"top_logprobs":3'])
def test_what_the_client_asks_himself_stays(own: bytes) -> None:
    body = b'{"model":"m",%b}' % own
    assert asking(body) == body


def completion(logprobs: Any, choices: int = 1) -> dict[str, Any]:
    return {
        "id": "a",
        "choices": [
            {"index": index, "message": {"content": '"logprobs": {}'}, "logprobs": logprobs, "x": 1.0}
            for index in range(choices)
        ],
    }


@pytest.mark.parametrize("indent", [None, 2])
@given(choices=st.integers(0, 3), ascii=st.booleans())
def test_an_answer_is_what_it_would_have_been(indent: int | None, choices: int, ascii: bool) -> None:
    def encoded(logprobs: Any) -> bytes:
        return json.dumps(completion(logprobs, choices), indent=indent, ensure_ascii=ascii).encode()

    asked = completion(LOGPROBS, choices)
    text = json.dumps(asked, indent=indent, ensure_ascii=ascii).encode()
    bare = json.dumps(LOGPROBS, ensure_ascii=ascii).encode()
    assert json.loads(without_logprobs(text)) == completion(None, choices)
    if indent is None:
        assert without_logprobs(text) == text.replace(bare, b"null") == encoded(None)
    assert without_logprobs(encoded(None)) == encoded(None)


def test_what_has_no_choices_or_none_with_probabilities_stays() -> None:
    for body in (b'{"usage": {}}', b'{"choices": [ {"delta":{}} ]}'):
        assert without_logprobs(body) == body
    with pytest.raises(NotAnArray):
        without_logprobs(b'{"choices": {}}')


def in_lines(value: Any) -> bytes:
    """An event whose data stands in several lines."""
    text = json.dumps(value, indent=1).encode()
    return b"".join(b"data: " + line + b"\n" for line in text.split(b"\n")) + b"\n"


def test_of_a_stream_only_chunks_change() -> None:
    data = json.dumps(completion(LOGPROBS)).encode()
    events = SseParser(1 << 20).feed(b"data: " + data + b"\n\n" + b"data: [DONE]\n\n")
    assert [event.raw for event in events_without_logprobs(events)] == [
        b"data: " + without_logprobs(data) + b"\n\n",
        b"data: [DONE]\n\n",
    ]
    (event,) = events_without_logprobs(SseParser(1 << 20).feed(in_lines(completion(LOGPROBS))))
    (again,) = SseParser(1 << 20).feed(event.raw)
    assert again.data == event.data and json.loads(event.data or b"") == completion(None)


def test_what_is_no_chunk_stays_as_it_is() -> None:
    events = [
        comment_event(b'"logprobs"'),
        Event(b'data: "logprobs"\n\n', b'"logprobs"'),
        *SseParser(1 << 20).feed(in_lines(completion(None))),
    ]
    assert events_without_logprobs(events) == events


@pytest.mark.parametrize(
    ("delta", "more", "stays"),
    [
        ({}, {}, False),
        ({"content": ""}, {}, True),
        ({}, {"finish_reason": "stop"}, True),
        ({}, {"stop_reason": 7}, True),
    ],
)
def test_a_chunk_of_nothing_but_probabilities_would_not_have_come(
    delta: dict[str, Any], more: dict[str, Any], stays: bool
) -> None:
    choice = {"index": 0, "delta": delta, "logprobs": LOGPROBS, "finish_reason": None, **more}
    for chunk, kept in ((choice, stays), (choice | {"logprobs": None}, True)):
        data = json.dumps({"choices": [chunk]}, separators=(",", ":")).encode()
        event = Event(b"data: " + data + b"\n\n", data)
        assert bool(events_without_logprobs([event])) is kept
