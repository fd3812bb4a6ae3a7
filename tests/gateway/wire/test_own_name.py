"""A model may quote a mark or talk of our tool: the client reads neither its name nor an id."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.own_name import NameFilter, body_without_name, without_name
from gateway.wire.own_tool import NAME
from gateway.wire.sse import Event, SseParser, comment_event
from tests.gateway.support.upstream import DONE, chunk, usage_chunk

MARK = f"[lines 31-340 left out; {NAME} id=abc234 start=31 end=340]"
_SAID = st.lists(
    st.sampled_from([MARK, NAME, "if ", "of", "fore", "forebay", " said.", "\n", "é"]), max_size=8
)


def fed(events: list[bytes], batch: int = 3) -> list[Event]:
    filter, parsed = NameFilter(), SseParser(1 << 20).feed(b"".join(events))
    out: list[Event] = []
    for at in range(0, len(parsed), batch):
        out += filter.feed(parsed[at : at + batch])
    return out + filter.finish()


def deltas(events: list[Event]) -> list[dict[str, Any]]:
    found = [json.loads(event.data) for event in events if event.data and event.data.startswith(b"{")]
    return [choice["delta"] for one in found for choice in one["choices"]]


def test_a_mark_stays_a_mark() -> None:
    assert without_name(f"It says {MARK}.") == "It says [lines 31-340 left out]."
    assert without_name(f"Let me use {NAME}.") == "Let me use retrieve."


def test_a_whole_answer_stays_json() -> None:
    body = json.dumps({"content": f'a "{MARK}" b', "arguments": json.dumps({"text": MARK})}).encode()
    left = json.loads(body_without_name(body))
    assert left["content"] == 'a "[lines 31-340 left out]" b'
    assert json.loads(left["arguments"]) == {"text": "[lines 31-340 left out]"}
    assert body_without_name(b'{"x": 1.0}') == b'{"x": 1.0}'


@settings(max_examples=60)
@given(
    field=st.sampled_from(["content", "reasoning_content"]),
    said=_SAID,
    size=st.integers(1, 30),
    batch=st.integers(1, 5),
)
def test_however_a_stream_is_cut_the_name_is_not_in_it(
    field: str, said: list[str], size: int, batch: int
) -> None:
    text = "".join(said)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    events = [chunk({field: piece}) for piece in pieces] + [chunk({}, "stop"), usage_chunk(), DONE]
    passed = fed(events, batch)
    joined = "".join(delta.get(field, "") for delta in deltas(passed))
    assert NAME not in joined and "abc234" not in joined
    if NAME not in text:
        assert b"".join(event.raw for event in passed) == b"".join(events)
    else:
        # Of a note whose beginning has passed before, a semicolon may be left.
        assert joined.replace("; ", "").replace(";", "") == without_name(text).replace("; ", "").replace(
            ";", ""
        )
    assert len(deltas(passed)) == len(pieces) + 1 and passed[-1].data == b"[DONE]"


@pytest.mark.parametrize(
    "said",
    [
        "forebay_" * 200_000 + "retrieve",
        "forebay_" * 200_000 + "retrieva",
        f"fore; {NAME} id=a" * 5_000 + "bay_retrieve id=a" * 5_000,
        f"forebay_; {NAME} id=a" * 20_000 + "retrieve",
    ],
)
def test_a_name_that_is_made_of_names_is_soon_gone(said: str) -> None:
    assert NAME not in without_name(said)


def test_an_error_in_another_encoding_is_cleaned_too() -> None:
    assert body_without_name(b"Caf\xe9: " + NAME.encode()) == b"Caf\xe9: retrieve"


def test_arguments_of_the_clients_tools_are_cleaned_too() -> None:
    arguments = json.dumps({"text": f"a {MARK} b"})
    events = [
        chunk({"tool_calls": [{"index": 1, "id": "c", "function": {"name": "write", "arguments": ""}}]}),
        *[
            chunk({"tool_calls": [{"index": 1, "function": {"arguments": arguments[at : at + 7]}}]})
            for at in range(0, len(arguments), 7)
        ],
        chunk({}, "tool_calls"),
    ]
    calls = [call for delta in deltas(fed(events)) for call in delta.get("tool_calls", [])]
    joined = "".join(call["function"]["arguments"] for call in calls)
    assert NAME not in joined and json.loads(joined)["text"].startswith("a [lines 31-340 left out")


def test_an_event_waits_only_while_its_end_may_be_the_names_beginning() -> None:
    filter, parser = NameFilter(), SseParser(1 << 20)
    (first,), (second,) = parser.feed(chunk({"content": "if"})), parser.feed(chunk({"content": " so"}))
    assert filter.feed([first]) == []
    assert filter.feed([comment_event(b"x")])[0].data is None
    assert filter.feed([second]) == [first, second]
    (third,) = parser.feed(chunk({"content": "yes"}))
    assert filter.feed([third]) == [third]


def test_what_is_no_chunk_passes() -> None:
    events = [
        b'data: {"choices":[7]}\n\n',
        b"data: nonsense\n\n",
        b'data: {"error":{"message":"x"}}\n\n',
        DONE,
    ]
    assert b"".join(event.raw for event in fed(events)) == b"".join(events)
