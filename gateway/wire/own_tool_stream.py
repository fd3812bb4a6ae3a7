"""The calls of the gateway's own tool in a stream: taken out of it, and put together.

Text passes at once. Events that say nothing yet, such as the one with the role, wait for the next. From the
first delta of our tool on nothing passes any more, and the stream is read to its end: then the model is asked
again with the result. Only if the client has seen a call of a tool of his own, or our tool was withdrawn, the
stream goes on without our calls, and the numbers of the others close the gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from gateway.wire.own_tool import MOST_ARGUMENTS, NAME, Asked, own_call
from gateway.wire.sse import Event, data_event
from gateway.wire.usage import DONE

_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, Any]).decode
_SAME = ("id", "created")
_BREAK = "\n\n"
"""Between what was said before a retrieval and what is said after it."""


class _Whose(Enum):
    OURS = "ours"
    THEIRS = "theirs"
    UNKNOWN = "unknown"
    """Not all of the name is here."""


@dataclass(slots=True)
class Shown:
    """What the client has seen of earlier rounds: all of them are one answer to him."""

    same: dict[str, Any] | None = None
    """The first chunk's values of what is the same in all chunks of an answer; None if he has seen none."""
    text: bool = False


@dataclass(slots=True)
class _Call:
    """A call as far as it has come."""

    id: str | None = None
    name: str = ""
    arguments: str = ""

    def add(self, delta: dict[str, Any]) -> None:
        self.id = self.id or delta.get("id")
        function = delta.get("function")
        if isinstance(function, dict):
            self.name += function.get("name") or ""
            if len(self.arguments) < MOST_ARGUMENTS:
                self.arguments += function.get("arguments") or ""

    @property
    def whose(self) -> _Whose:
        if self.name == NAME:
            return _Whose.OURS
        waits = NAME.startswith(self.name) and not self.arguments
        return _Whose.UNKNOWN if waits else _Whose.THEIRS


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk that has a choice. What is changed here is changed in `whole`."""

    whole: dict[str, Any]
    choice: dict[str, Any]
    delta: dict[str, Any]

    @property
    def calls(self) -> list[dict[str, Any]]:
        calls = self.delta.get("tool_calls")
        return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []

    @property
    def says_nothing(self) -> bool:
        said = any(value for name, value in self.delta.items() if name != "role")
        return not said and self.choice.get("finish_reason") is None

    def event(self) -> Event:
        return data_event(_encode(self.whole))


class OwnToolStream:
    """One round's events."""

    def __init__(self, shown: Shown, *, withdrawn: bool) -> None:
        self._shown = shown
        self._withdrawn = withdrawn
        self._later = shown.same is not None
        self._held: list[Event] = []
        self._flows = False
        self._swallows = False
        self._calls: dict[int, _Call] = {}
        self._passed_data: list[bytes] = []
        """For the words that were said before a call."""
        self._unseen_text: list[str] = []
        self._theirs_shown = False

    def feed(self, events: list[Event]) -> list[Event]:
        """Return the events that pass."""
        return [passed for event in events for passed in self._one(event)]

    def finish(self) -> list[Event]:
        """Return what waited for more, at the end of the stream."""
        return [] if self._swallows else self._released()

    def asked(self) -> Asked | None:
        """Return the calls that the model is to be asked again with; None if the stream is the answer."""
        if not self._swallows:
            return None
        seen = "".join(_text(data) for data in self._passed_data)
        self._shown.text |= bool(seen)
        calls = [
            own_call(call.id, call.arguments, number)
            for number, call in sorted(self._calls.items())
            if call.whose is _Whose.OURS
        ]
        return Asked(seen + "".join(self._unseen_text) or None, calls)

    def _one(self, event: Event) -> list[Event]:
        data = event.data
        if data is None or data == DONE:
            return [] if self._swallows else [*(self._released() if data else []), event]
        if self._flows and not self._later and not self._calls and b'"tool_calls"' not in data:
            self._passed_data.append(data)
            return [event]
        chunk = _read(data)
        if self._swallows:
            if chunk is not None:
                self._gather(chunk)
                self._unseen_text.append(_content(chunk))
            return []
        if chunk is None:
            # The usage, or what nobody knows.
            return self._pass(event) if self._flows else self._wait(event)
        if chunk.calls:
            self._gather(chunk)
            whose = {self._whose(call) for call in chunk.calls}
            if _Whose.OURS in whose and not self._withdrawn and not self._theirs_shown:
                self._swallows = True
                self._held.clear()
                return []
            if _Whose.UNKNOWN in whose:
                self._flows = False
                return self._wait(event)
        elif chunk.says_nothing and not self._flows:
            return self._wait(event)
        self._flows = True
        return [*self._released(), *self._without_own(event, chunk)]

    def _wait(self, event: Event) -> list[Event]:
        self._held.append(event)
        return []

    def _released(self) -> list[Event]:
        held, self._held = self._held, []
        out: list[Event] = []
        for event in held:
            chunk = None if event.data is None else _read(event.data)
            out += self._pass(event) if chunk is None else self._without_own(event, chunk)
        return out

    def _gather(self, chunk: _Chunk) -> None:
        for call in chunk.calls:
            self._calls.setdefault(_number(call), _Call()).add(call)

    def _whose(self, call: dict[str, Any]) -> _Whose:
        return self._calls[_number(call)].whose

    def _without_own(self, event: Event, chunk: _Chunk) -> list[Event]:
        """Return an event that passes, as it is if nothing of our tool has come."""
        ours = [number for number, call in self._calls.items() if call.whose is _Whose.OURS]
        if chunk.calls:
            left = [call for call in chunk.calls if self._whose(call) is not _Whose.OURS]
            self._theirs_shown |= bool(left)
            if ours:
                for call in left:
                    call["index"] = _number(call) - sum(number < _number(call) for number in ours)
                chunk.delta["tool_calls"] = left
                if not left:
                    del chunk.delta["tool_calls"]
        if not ours:
            return self._pass(event)
        if chunk.says_nothing:
            return []
        if chunk.choice.get("finish_reason") == "tool_calls" and not self._theirs_shown:
            # Nothing is left that was called.
            chunk.choice["finish_reason"] = "stop"
        return self._pass(chunk.event())

    def _pass(self, event: Event) -> list[Event]:
        """Return an event as a part of the one answer that the client gets."""
        data = event.data
        if data is None:
            return [event]
        self._passed_data.append(data)
        if not self._later:
            if self._shown.same is None:
                self._shown.same = _same(data)
            return [event]
        try:
            whole = _OBJECT(data)
        except msgspec.DecodeError:
            return [event]
        assert self._shown.same is not None
        whole |= self._shown.same
        chunk = _chunk(whole)
        if chunk is None:
            return [data_event(_encode(whole))]
        chunk.delta.pop("role", None)
        if chunk.says_nothing:
            return []
        out = [chunk.event()]
        if self._shown.text and _content(chunk):
            self._shown.text = False
            said = [{"index": 0, "delta": {"content": _BREAK}, "finish_reason": None}]
            out.insert(0, data_event(_encode({**whole, "choices": said})))
        return out


def _read(data: bytes) -> _Chunk | None:
    try:
        return _chunk(_OBJECT(data))
    except (msgspec.DecodeError, RecursionError):
        return None


def _chunk(whole: dict[str, Any]) -> _Chunk | None:
    """Return a chunk's choice, which is one: a request for several does not get the tool."""
    choices = whole.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    delta = choices[0].get("delta")
    return _Chunk(whole, choices[0], delta if isinstance(delta, dict) else {})


def _number(call: dict[str, Any]) -> int:
    number = call.get("index", 0)
    return number if isinstance(number, int) else 0


def _content(chunk: _Chunk) -> str:
    content = chunk.delta.get("content")
    return content if isinstance(content, str) else ""


def _text(data: bytes) -> str:
    chunk = _read(data)
    return "" if chunk is None else _content(chunk)


def _same(data: bytes) -> dict[str, Any]:
    try:
        whole = _OBJECT(data)
    except msgspec.DecodeError:
        return {}
    return {name: whole[name] for name in _SAME if name in whole}
