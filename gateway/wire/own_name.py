"""Keeps the name of the gateway's own tool out of what a model says: it may quote a mark, or talk of it.

A mark loses its note and stays a mark. In a stream the name may be cut anywhere: an event whose text ends
like a beginning of it waits for the next, and goes on as it is if that does not go on with the name.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

from gateway.wire.own_tool import NAME
from gateway.wire.sse import Event, data_event
from gateway.wire.usage import DONE

_NOTE = re.compile(rf";? ?{NAME} id=[a-z2-7]+(?: start=\d+)?(?: end=\d+)?")
_PLAIN = "retrieve"
_BEFORE = NAME.removesuffix(_PLAIN)
# With all that would make a name of what is left; and a run is tried where it begins only.
_NAME = re.compile(rf"(?<!{_BEFORE})(?:{_BEFORE})++{_PLAIN}")
_MOST_PASSES = 4
"""A note within a note leaves one behind; no model that wants nothing of us writes more of them."""
_OPEN = re.compile(rf'{NAME}[^\]\n"\\]{{0,80}}\Z')
"""The note that is behind the name may not be complete."""
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, Any]).decode
_Key: TypeAlias = tuple[str, int]


def without_name(text: str) -> str:
    """Return what was said without notes and names."""
    for _ in range(_MOST_PASSES):
        if NAME not in text:
            return text
        text = _NAME.sub(_PLAIN, _NOTE.sub("", text))
    return _NAME.sub(_PLAIN, text)


def body_without_name(body: bytes) -> bytes:
    """Return a document, JSON as a rule, in which no string has the name; JSON escapes nothing of a note."""
    if NAME.encode() not in body:
        return body
    # An error page may be in any encoding.
    return without_name(body.decode(errors="surrogateescape")).encode(errors="surrogateescape")


class NameFilter:
    """Events on their way to the client."""

    def __init__(self) -> None:
        self._held: list[tuple[Event, dict[str, Any]]] = []
        self._key: _Key = ("", 0)
        self._text = ""
        """Of the events that wait."""

    def feed(self, events: list[Event]) -> list[Event]:
        """Return the events that can go on."""
        return [passed for event in events for passed in self._one(event)]

    def finish(self) -> list[Event]:
        """Return the events that waited, since nothing follows."""
        held, text = self._held, self._text
        self._held, self._text = [], ""
        if NAME not in text:
            return [event for event, _ in held]
        said = without_name(text)
        out = []
        for _, whole in held:
            _set(whole, self._key, said)
            said = ""
            out.append(data_event(_encode(whole)))
        return out

    def _one(self, event: Event) -> list[Event]:
        data = event.data
        if data is None:
            return [event]
        if data == DONE:
            return [*self.finish(), event]
        whole, texts = _read(data)
        if len(texts) != 1:
            clean = data_event(body_without_name(data)) if NAME.encode() in data else event
            return [*self.finish(), clean]
        ((key, text),) = texts.items()
        before = self.finish() if key != self._key else []
        self._key = key
        self._text += text
        self._held.append((event, whole))
        if _OPEN.search(self._text) or _begins(self._text):
            return before
        return before + self.finish()


def _begins(text: str) -> bool:
    """Return whether a text ends like a beginning of the name."""
    # The letter is in the name once, so no earlier place can be meant.
    start = text.rfind(NAME[0], -len(NAME))
    return start >= 0 and NAME.startswith(text[start:])


def _read(data: bytes) -> tuple[dict[str, Any], dict[_Key, str]]:
    """Return a chunk and its texts: what is said, and the arguments of calls by their numbers."""
    try:
        whole = _OBJECT(data)
        delta = whole["choices"][0]["delta"]
        texts = {(name, 0): text for name in _TEXTS if isinstance(text := delta.get(name), str) and text}
        for call in delta.get("tool_calls") or ():
            if text := (call.get("function") or {}).get("arguments"):
                texts["arguments", call.get("index", 0)] = text
    except (msgspec.DecodeError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        return {}, {}
    return whole, texts


def _set(whole: dict[str, Any], key: _Key, text: str) -> None:
    delta = whole["choices"][0]["delta"]
    name, number = key
    if name != "arguments":
        delta[name] = text
        return
    for call in delta["tool_calls"]:
        if call.get("index", 0) == number:
            call["function"]["arguments"] = text
