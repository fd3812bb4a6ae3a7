"""From the chunks of a finished stream to the answer that a caller who does not stream would have got."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from semantic_cache.answer_shape import (
    CHOICE,
    CHOICE_EXTRAS,
    KEPT,
    LOGPROBS,
    MESSAGE,
    TEXTS,
    TOP,
    as_list,
    as_object,
    as_text,
    is_empty,
    refuse_unknown,
)
from semantic_cache.errors import NotReplayable

DONE = b"[DONE]"
_DECODE = msgspec.json.Decoder().decode
_ENCODE = msgspec.json.Encoder().encode


class Recording:
    """The data of a stream's events while it runs. Nothing is parsed before somebody wants the answer."""

    __slots__ = ("_left", "chunks", "complete")

    def __init__(self, max_bytes: int) -> None:
        """A stream of more than `max_bytes` is forgotten, and what follows not kept."""
        self._left = max_bytes
        self.chunks: list[bytes] = []
        self.complete = False
        """Whether the terminal event came."""

    @property
    def too_large(self) -> bool:
        """Whether the stream was larger than allowed."""
        return self._left < 0

    def feed(self, data: bytes) -> None:
        """Take the data of one event."""
        if data == DONE:
            self.complete = True
            return
        self._left -= len(data)
        if self._left < 0:
            self.chunks.clear()
        else:
            self.chunks.append(data)


def assemble(endpoint: str, chunks: Iterable[bytes], usage: bytes | None = None) -> bytes:
    """Return the JSON of the whole answer.

    `endpoint` is "chat" or "completions". `usage` is the usage object if it was taken out of the stream
    before it came here. Raises NotReplayable for whatever is not fully understood.
    """
    top: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    counted: Any = None
    for data in chunks:
        if endpoint == "chat" and 0 in choices and (text := _plain_text(data, top)) is not None:
            choices[0].add_text("content", text)
            continue
        chunk = _object(data)
        if not is_empty(chunk.get("error")):
            raise NotReplayable("error")
        refuse_unknown(chunk, TOP)
        for name in KEPT:
            if name not in top and not is_empty(value := chunk.get(name)):
                top[name] = value
        if not is_empty(value := chunk.get("usage")):
            counted = value
        for choice in as_list(chunk.get("choices", [])):
            index = as_object(choice).get("index", 0)
            if not isinstance(index, int):
                raise NotReplayable("malformed")
            choices.setdefault(index, _Choice(endpoint)).add(choice)
    if not choices:
        raise NotReplayable("no_choices")
    if usage is not None:
        counted = msgspec.Raw(usage)
    answer = {
        "object": "chat.completion" if endpoint == "chat" else "text_completion",
        **top,
        "choices": [choices[index].whole(index) for index in sorted(choices)],
    }
    if counted is not None:
        answer["usage"] = counted
    return _ENCODE(answer)


class _Choice:
    """One choice, growing."""

    __slots__ = ("_endpoint", "_extras", "_finish", "_logprobs", "_texts")

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._texts: dict[str, list[str]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._extras: dict[str, Any] = {}
        self._finish: Any = None

    def add(self, choice: dict[str, Any]) -> None:
        refuse_unknown(choice, CHOICE[self._endpoint])
        if self._endpoint == "chat":
            if not is_empty(choice.get("message")):
                raise NotReplayable("malformed")
            delta = as_object(choice.get("delta") or {})
            refuse_unknown(delta, MESSAGE)
            if delta.get("role") not in (None, "", "assistant"):
                raise NotReplayable("role")
            for name in TEXTS:
                if name in delta:
                    self.add_text(name, as_text(delta[name]))
        else:
            self.add_text("text", as_text(choice.get("text")))
        self._add_logprobs(choice.get("logprobs"))
        for name in CHOICE_EXTRAS:
            if not is_empty(value := choice.get(name)):
                self._extras[name] = value
        # Only now: the chunk that ends a choice may still carry a piece of it.
        self._finish = choice.get("finish_reason") or self._finish

    def add_text(self, name: str, text: str) -> None:
        if text:
            if self._finish is not None:
                raise NotReplayable("malformed")
            self._texts.setdefault(name, []).append(text)

    def _add_logprobs(self, value: Any) -> None:
        if is_empty(value):
            return
        logprobs = as_object(value)
        refuse_unknown(logprobs, LOGPROBS[self._endpoint])
        for name, items in logprobs.items():
            if items is not None:
                self._logprobs.setdefault(name, []).extend(as_list(items))

    def whole(self, index: int) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index}
        if self._endpoint == "chat":
            texts = {name: "".join(parts) for name, parts in self._texts.items()}
            message = {"role": "assistant", "content": texts.pop("content", None), "refusal": None}
            choice["message"] = {**message, **texts}
        else:
            choice["text"] = "".join(self._texts.get("text", ()))
        choice["logprobs"] = self._whole_logprobs()
        choice["finish_reason"] = self._finish
        return {**choice, **self._extras}

    def _whole_logprobs(self) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        return {name: self._logprobs.get(name) for name in LOGPROBS[self._endpoint]}


class _Delta(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: Literal["assistant"] | None = None
    refusal: None = None


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _Delta
    index: Literal[0]
    finish_reason: None = None
    logprobs: None = None


class _PlainChunk(msgspec.Struct, forbid_unknown_fields=True):
    """A chunk amid a stream that holds a piece of text and repeats what the first one said."""

    choices: tuple[_PlainChoice]
    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: None = None
    obfuscation: str | None = None


_DECODE_PLAIN = msgspec.json.Decoder(_PlainChunk).decode


def _plain_text(data: bytes, top: Mapping[str, Any]) -> str | None:
    """Return the text of a chunk that says nothing else new, as most do; all others get a closer look."""
    try:
        chunk = _DECODE_PLAIN(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if chunk.system_fingerprint and "system_fingerprint" not in top:
        return None
    if chunk.service_tier and "service_tier" not in top:
        return None
    return chunk.choices[0].delta.content


def _object(data: bytes) -> dict[str, Any]:
    try:
        return as_object(_DECODE(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotReplayable("malformed") from None
