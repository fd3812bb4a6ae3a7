"""What a chat request asks for, as far as it matters to who can answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from router.after.logprobs import Token
from router.after.signs import SmallAnswer


class Message(msgspec.Struct, frozen=True):
    """One message; parts that are no text are seen and not read."""

    role: str = ""
    content: Any = None


class Asked(msgspec.Struct, frozen=True):
    """The fields that are read."""

    messages: tuple[Message, ...] = ()
    tools: Any = None
    functions: Any = None
    n: int | None = None
    response_format: Any = None

    def question(self) -> str | None:
        """Return the text of the user's last message; None if there is none, or any message is more than
        text."""
        texts = [(message.role, _text(message.content)) for message in self.messages]
        if any(text is None for _, text in texts):
            return None
        return next((text for role, text in reversed(texts) if role == "user"), None)


class _TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class _TopLogprob(msgspec.Struct, frozen=True):
    logprob: float


class _Token(_TopLogprob, frozen=True):
    token: str = ""
    top_logprobs: tuple[_TopLogprob, ...] = ()


class _Logprobs(msgspec.Struct, frozen=True):
    content: tuple[_Token, ...] | None = None


class _Said(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Said = _Said()
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Reply(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()


_ASKED = msgspec.json.Decoder(Asked)
_REPLY = msgspec.json.Decoder(_Reply)


def read_asked(body: bytes) -> Asked | None:
    """Return what a body asks for; None if it is not what OpenAI's clients send."""
    try:
        return _ASKED.decode(body)
    except msgspec.DecodeError:
        return None


def read_small_answer(body: bytes, question: str, response_format: Any) -> SmallAnswer | None:
    """Return the first choice of a chat completion; None if there is none that can be read."""
    try:
        reply = _REPLY.decode(body)
    except msgspec.DecodeError:
        return None
    if not reply.choices:
        return None
    choice = reply.choices[0]
    tokens = () if choice.logprobs is None else choice.logprobs.content or ()
    return SmallAnswer(
        question,
        choice.message.content or "",
        choice.finish_reason,
        response_format if isinstance(response_format, Mapping) else None,
        [_token(token) for token in tokens],
    )


def _token(token: _Token) -> Token:
    return Token(token.logprob, tuple([top.logprob for top in token.top_logprobs]), token.token)


def _text(content: Any) -> str | None:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        try:
            return "\n".join(part.text for part in msgspec.convert(content, list[_TextPart]))
        except msgspec.ValidationError:
            return None
    return None
