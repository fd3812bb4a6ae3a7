"""Which requests may be answered from the cache, and which answers are stored.

An answer is stored if it is complete, right by its own account, and replayable without loss. Every refusal
has one word for metrics and spans.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from semantic_cache.answer_shape import (
    CHOICE,
    DROPPED,
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
from semantic_cache.assemble import Recording, assemble
from semantic_cache.errors import NotReplayable
from semantic_cache.question import Question

Sampled: TypeAlias = Literal["reuse", "off"]

STORED: Final = "stored"
DEFAULT_MAX_BYTES: Final = 1 << 20
_MOST_CHOICES = 128
_DECODE = msgspec.json.Decoder().decode
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ENCODE = msgspec.json.Encoder().encode


class Verdict(NamedTuple):
    """Whether an answer may be stored, and if so what of it."""

    reason: str
    """STORED, or the one word that says why not."""
    answer: bytes = b""
    """The JSON object for `Entry.answer`: the whole answer without what belongs to that one call."""
    has_usage: bool = False

    @property
    def stored(self) -> bool:
        """Whether it may be stored."""
        return self.reason == STORED


def refuse_request(question: Question, sampled: Sampled = "reuse") -> str | None:
    """Return why the cache has nothing to do with this request, in one word, or None if it may answer it.

    What the request's directives say is not looked at here.
    """
    if question.choices is not None and (question.choices != 1 or isinstance(question.choices, bool)):
        return "choices"
    if question.upstream_keeps:
        return "upstream_keeps"
    if sampled == "off" and question.sampled:
        return "sampled"
    return None


def judge_body(endpoint: str, status: int, body: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Verdict:
    """Judge the whole answer to a "chat" or "completions" request."""
    if not 200 <= status < 300:
        return Verdict("status")
    if len(body) > max_bytes:
        return Verdict("size")
    try:
        has_usage = _plain_usage(body) if endpoint == "chat" else None
        if has_usage is None:
            answer = as_object(_DECODE(body))
            _check(endpoint, answer)
            has_usage = not is_empty(answer.get("usage"))
        return Verdict(STORED, _without(body, DROPPED), has_usage)
    except NotReplayable as error:
        return Verdict(error.reason)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Verdict("malformed")


def judge_stream(
    endpoint: str,
    status: int,
    recording: Recording,
    *,
    disconnected: bool = False,
    usage: bytes | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Verdict:
    """Judge a stream that is over.

    `disconnected` says that it ended before its end on our side. `usage` is the usage object if a tap before
    the recording took it out of the stream.
    """
    if not 200 <= status < 300:
        return Verdict("status")
    if disconnected:
        return Verdict("disconnect")
    if recording.too_large:
        return Verdict("size")
    if not recording.complete:
        return Verdict("incomplete")
    try:
        body = assemble(endpoint, recording.chunks, usage)
    except NotReplayable as error:
        return Verdict(error.reason)
    return judge_body(endpoint, status, body, max_bytes=max_bytes)


def _check(endpoint: str, answer: dict[str, Any]) -> None:
    if not is_empty(answer.get("error")):
        raise NotReplayable("error")
    refuse_unknown(answer, TOP)
    choices = as_list(answer.get("choices"))
    if not 0 < len(choices) <= _MOST_CHOICES:
        raise NotReplayable("no_choices")
    if endpoint == "chat" and len(choices) > 1:
        raise NotReplayable("choices")
    for place, choice in enumerate(choices):
        if as_object(choice).get("index", place) != place:
            raise NotReplayable("malformed")
        _check_choice(endpoint, choice)


def _check_choice(endpoint: str, choice: dict[str, Any]) -> None:
    if endpoint == "chat":
        message = as_object(choice.get("message"))
        refuse_unknown(message, MESSAGE)
        if message.get("role", "assistant") != "assistant":
            raise NotReplayable("role")
        texts = {name: as_text(message.get(name)) for name in TEXTS}
        said = texts["content"] or texts["refusal"]
    else:
        said = as_text(choice.get("text"))
    if choice.get("finish_reason") != "stop":
        raise NotReplayable(_finish_reason(choice.get("finish_reason")))
    if not said:
        raise NotReplayable("empty")
    refuse_unknown(choice, CHOICE[endpoint])
    if not is_empty(logprobs := choice.get("logprobs")):
        refuse_unknown(as_object(logprobs), LOGPROBS[endpoint])


_FINISH_REASONS = ("length", "content_filter", "tool_calls", "function_call")


def _finish_reason(value: Any) -> str:
    # One of a few names: a metric's labels are not for an upstream to invent.
    return value if value in _FINISH_REASONS else "unfinished"


def _without(body: bytes, names: tuple[str, ...]) -> bytes:
    """Return a JSON object without some members; the values of the others keep their own bytes."""
    members = _MEMBERS(body)
    for name in names:
        members.pop(name, None)
    return _ENCODE(members)


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    annotations: tuple[()] = ()


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    message: _PlainMessage
    finish_reason: Literal["stop"]
    index: Literal[0] = 0
    logprobs: None = None


class _PlainAnswer(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chat answer of one text that ended by itself, as most do: fit in every respect once it is decoded."""

    choices: tuple[_PlainChoice]
    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None


_DECODE_PLAIN = msgspec.json.Decoder(_PlainAnswer).decode


def _plain_usage(body: bytes) -> bool | None:
    """Return whether a plain answer counts its tokens, or None for an answer that needs a closer look."""
    try:
        answer = _DECODE_PLAIN(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return bool(answer.usage) if answer.choices[0].message.content else None
