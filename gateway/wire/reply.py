"""What a model answered to a chat, whole or in the chunks of a stream, as far as it is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.wire.usage import DONE
from router.after.logprobs import Token


@dataclass(slots=True)
class ToolCall:
    """A call of a tool; the arguments are JSON as the model wrote it."""

    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Reply:
    """The first choice of an answer."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    finish_reason: str | None = None
    tokens: list[Token] = field(default_factory=list)


class _TopLogprob(msgspec.Struct, frozen=True):
    logprob: float


class _Token(_TopLogprob, frozen=True):
    token: str = ""
    top_logprobs: tuple[_TopLogprob, ...] = ()


class _Logprobs(msgspec.Struct, frozen=True):
    content: tuple[_Token, ...] | None = None


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, frozen=True):
    index: int | None = None
    function: _Function = _Function()


class _Said(msgspec.Struct, frozen=True):
    content: str | None = None
    tool_calls: tuple[_Call, ...] | None = None


class _Choice(msgspec.Struct, frozen=True):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    error: Any = None


_DECODE = msgspec.json.Decoder(_Completion).decode


def read_reply(body: bytes) -> Reply | None:
    """Return the first choice of a chat completion; None if there is none that can be read."""
    try:
        completion = _DECODE(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not completion.choices or completion.error is not None:
        return None
    choice = completion.choices[0]
    said = choice.message or _Said()
    calls = [ToolCall(call.function.name or "", call.function.arguments or "") for call in _calls(said)]
    return Reply(said.content or "", calls, choice.finish_reason, _tokens(choice))


class StreamedReply:
    """The first choice of a stream, growing; `broken` once a chunk cannot be read or is an error."""

    __slots__ = ("_calls", "_texts", "_tokens", "broken", "finish_reason", "seen")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[int, ToolCall] = {}
        self._tokens: list[Token] = []
        self.finish_reason: str | None = None
        self.seen = False
        self.broken = False

    def feed(self, data: Iterable[bytes | None]) -> str:
        """Take the data of events; returns the text that they add."""
        added = ""
        for one in data:
            if one is not None and one != DONE:
                added += self._one(one)
        return added

    def _one(self, data: bytes) -> str:
        try:
            chunk = _DECODE(data)
        except (msgspec.DecodeError, RecursionError):
            self.broken = True
            return ""
        self.broken = self.broken or chunk.error is not None
        added = ""
        for choice in chunk.choices:
            if choice.index != 0:
                continue
            self.seen = True
            self.finish_reason = choice.finish_reason or self.finish_reason
            self._tokens += _tokens(choice)
            if (said := choice.delta) is None:
                continue
            if said.content:
                self._texts.append(said.content)
                added += said.content
            for place, piece in enumerate(_calls(said)):
                call = self._calls.setdefault(place if piece.index is None else piece.index, ToolCall())
                call.name += piece.function.name or ""
                call.arguments += piece.function.arguments or ""
        return added

    def whole(self) -> Reply | None:
        """Return what has come so far; None if it is no answer."""
        if self.broken or not self.seen:
            return None
        calls = [self._calls[place] for place in sorted(self._calls)]
        return Reply("".join(self._texts), calls, self.finish_reason, self._tokens)


def _calls(said: _Said) -> tuple[_Call, ...]:
    return said.tool_calls or ()


def _tokens(choice: _Choice) -> list[Token]:
    tokens = () if choice.logprobs is None else choice.logprobs.content or ()
    return [
        Token(token.logprob, tuple([top.logprob for top in token.top_logprobs]), token.token)
        for token in tokens
    ]
