"""Whatever a model says in whatever order, the client's stream is valid and knows nothing of our tool."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.own_tool import NAME
from gateway.wire.own_tool_stream import OwnToolStream, Shown
from gateway.wire.sse import Event, SseParser, comment_event
from tests.gateway.support.upstream import DONE, chunk, usage_chunk

ROLE = chunk({"role": "assistant", "content": ""})
_PARTS = st.lists(
    st.tuples(
        st.sampled_from(["text", "own", "their", "like-ours"]),
        st.text('abc é"\\{}', min_size=1, max_size=12),
        st.integers(1, 5),
    ),
    max_size=6,
)
NAMES = {"own": NAME, "their": "read", "like-ours": "forebay"}


def events_of(parts: list[tuple[str, str, int]], *, split_names: bool = False) -> list[bytes]:
    """A stream as OpenAI writes it."""
    events, number = [ROLE], 0
    for kind, text, size in parts:
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        if kind == "text":
            events += [chunk({"content": piece}) for piece in pieces]
            continue
        name = NAMES[kind]
        first, rest = (name[:4], name[4:]) if split_names else (name, "")
        function = {"name": first, "arguments": ""}
        head = {"index": number, "id": f"c{number}", "type": "function", "function": function}
        events.append(chunk({"tool_calls": [head]}))
        if rest:
            events.append(chunk({"tool_calls": [{"index": number, "function": {"name": rest}}]}))
        for piece in pieces:
            events.append(chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]}))
        number += 1
    return [*events, chunk({}, "tool_calls" if number else "stop"), usage_chunk(), DONE]


def fed(stream: OwnToolStream, events: list[bytes], batch: int) -> list[Event]:
    parsed = SseParser(1 << 20).feed(b"".join(events))
    out: list[Event] = []
    for at in range(0, len(parsed), batch):
        out += stream.feed(parsed[at : at + batch])
    return out + stream.finish()


def read(events: list[Event]) -> tuple[str, list[dict[str, Any]], str | None]:
    """What a client makes of a stream: the text, the calls by their numbers, and how it ended."""
    text, calls, finish = "", [], None
    for event in events:
        if event.data is None or not event.data.startswith(b"{"):
            continue
        for choice in json.loads(event.data)["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for call in choice["delta"].get("tool_calls", []):
                if "id" in call:
                    calls.append({"id": call["id"], "name": "", "arguments": ""})
                assert call["index"] < len(calls)
                calls[call["index"]]["name"] += call["function"].get("name") or ""
                calls[call["index"]]["arguments"] += call["function"].get("arguments") or ""
    return text, calls, finish


@settings(max_examples=40)
@given(parts=_PARTS, batch=st.integers(1, 9), withdrawn=st.booleans(), split_names=st.booleans())
def test_the_client_never_sees_our_tool(
    parts: list[tuple[str, str, int]], batch: int, withdrawn: bool, split_names: bool
) -> None:
    events = events_of(parts, split_names=split_names)
    stream = OwnToolStream(Shown(), withdrawn=withdrawn)
    passed = fed(stream, events, batch)
    assert NAME.encode() not in b"".join(event.raw for event in passed)
    kinds = [kind for kind, _, _ in parts if kind != "text"]
    said = "".join(text for kind, text, _ in parts if kind == "text")
    text, calls, finish = read(passed)
    asked = stream.asked()
    if "own" not in kinds:
        assert b"".join(event.raw for event in passed) == b"".join(events) and asked is None
    elif not withdrawn and kinds[0] == "own":
        assert asked is not None and asked.content == (said or None)
        assert [call.arguments for call in asked.calls] == [text for kind, text, _ in parts if kind == "own"]
        assert said.startswith(text) and calls == [] and finish is None
    else:
        theirs = [(NAMES[kind], text) for kind, text, _ in parts if kind in ("their", "like-ours")]
        assert asked is None and text == said
        assert [(call["name"], call["arguments"]) for call in calls] == theirs
        assert finish == ("tool_calls" if theirs else "stop") and passed[-1].data == b"[DONE]"


@settings(max_examples=25)
@given(parts=_PARTS, batch=st.integers(1, 9))
def test_a_later_round_goes_on_with_the_same_answer(parts: list[tuple[str, str, int]], batch: int) -> None:
    shown = Shown()
    first = OwnToolStream(shown, withdrawn=False)
    before = fed(first, events_of([("text", "Let me look.", 3), ("own", "{}", 2)]), batch)
    assert first.asked() is not None
    parts = [part for part in parts if part[0] != "own"]
    events = [event.replace(b"chatcmpl-1", b"chatcmpl-2") for event in events_of(parts)]
    after = fed(OwnToolStream(shown, withdrawn=True), events, batch)
    text, calls, finish = read([*before, *after])
    said = "".join(text for kind, text, _ in parts if kind == "text")
    assert text == "Let me look." + (f"\n\n{said}" if said else "")
    assert len(calls) == len(parts) - sum(kind == "text" for kind, _, _ in parts) and finish is not None
    raw = b"".join(event.raw for event in after)
    assert b"chatcmpl-2" not in raw and b'"role"' not in raw


def test_text_and_comments_pass_at_once() -> None:
    stream = OwnToolStream(Shown(), withdrawn=False)
    parser = SseParser(1 << 20)
    waiting = comment_event(b"still here")
    assert stream.feed([waiting]) == [waiting]
    assert stream.feed(parser.feed(ROLE)) == []
    assert [event.raw for event in stream.feed(parser.feed(chunk({"content": "a"})))] == [
        ROLE,
        chunk({"content": "a"}),
    ]


def test_what_is_no_chunk_that_anybody_knows_passes() -> None:
    stream = OwnToolStream(Shown(), withdrawn=False)
    events = [b'data: {"new":1}\n\n', b'data: {"choices":[{},{}]}\n\n', b"data: nonsense\n\n", DONE]
    assert b"".join(event.raw for event in fed(stream, events, 2)) == b"".join(events)
