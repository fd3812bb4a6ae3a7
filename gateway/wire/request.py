"""The gateway's view of a request: the few fields it acts on, and where they stand in the client's bytes.

Everything else passes through unread: whether `temperature` may be 3 is for the upstream to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import msgspec

from gateway.errors import InvalidRequest
from gateway.wire.members import DuplicateKey, Member, NotAnObject, members
from gateway.wire.splice import Edit, ask_for_usage, drop, set_value, splice
from telemetry import names

T = TypeVar("T")

MAX_MODEL_CHARS = 512


# `msgspec.json.decode` would make a decoder for the type at every call.
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (str, bool, int, float)
}


class Endpoint(Enum):
    """An OpenAI endpoint that goes through the hops: its route here and its operation in `gen_ai.*`."""

    CHAT = ("/v1/chat/completions", names.CHAT)
    COMPLETIONS = ("/v1/completions", names.TEXT_COMPLETION)
    EMBEDDINGS = ("/v1/embeddings", names.EMBEDDINGS)

    def __init__(self, route: str, operation: str) -> None:
        self.route = route
        self.operation = operation

    @property
    def upstream_path(self) -> str:
        """The path below an upstream's base URL, which has the `/v1`."""
        return self.route.removeprefix("/v1")

    @property
    def streams(self) -> bool:
        """Whether a request may ask for a stream."""
        return self is not Endpoint.EMBEDDINGS


@dataclass(frozen=True, slots=True)
class RequestView:
    """What the gateway read in a request's body."""

    model: str
    stream: bool
    usage_wanted: bool
    """The client himself asks for the usage event of a stream."""
    spans: dict[str, Member]

    def value(self, body: bytes, key: str, kind: type[T]) -> T | None:
        """Return a field if the client gave it and it is of this type: str, bool, int or float."""
        span = self.spans.get(key)
        if span is None:
            return None
        try:
            value: T = _DECODERS[kind].decode(body[span.start : span.end])
        except msgspec.DecodeError:
            return None
        return value


def read_request(body: bytes, endpoint: Endpoint) -> RequestView:
    """Return the view of a request. Raises InvalidRequest with a message that quotes no content."""
    try:
        spans = members(body)
    except DuplicateKey as error:
        raise InvalidRequest(f"We could not use the JSON body: {error}.", param=error.key) from None
    except NotAnObject as error:
        raise InvalidRequest(f"We could not parse the JSON body of your request: {error}.") from None
    model = _field(body, spans, "model", str, "a string")
    if not model:
        raise InvalidRequest("You must provide a model parameter.", param="model")
    if len(model) > MAX_MODEL_CHARS:
        raise InvalidRequest(f"The model name is longer than {MAX_MODEL_CHARS} characters.", param="model")
    stream = endpoint.streams and bool(_field(body, spans, "stream", bool, "a boolean"))
    usage_wanted = stream and _asks_for_usage(body, spans)
    return RequestView(model, stream, usage_wanted, spans)


def outgoing(
    body: bytes,
    view: RequestView,
    *,
    model: str,
    usage: bool,
    without: str | None = None,
    prompt: Sequence[Edit] = (),
    more: Sequence[Edit] = (),
) -> bytes:
    """Return the bytes for the upstream: `body` but for the model's name and the wish for `usage`.

    `without` names a member that is said to us and not to the upstream; `prompt` are edits within `messages`,
    `more` elsewhere.
    """
    edits = [*prompt, *more]
    if without in view.spans:
        edits.append(drop(view.spans, without))
    if model != view.model:
        edits.append(set_value(view.spans, "model", model))
    if usage and view.stream and (edit := ask_for_usage(body, view.spans)):
        edits.append(edit)
    return splice(body, edits)


def _asks_for_usage(body: bytes, spans: dict[str, Member]) -> bool:
    span = spans.get("stream_options")
    if span is None or body[span.start : span.end] == b"null":
        return False
    try:
        inner = members(body[span.start : span.end])
    except DuplicateKey as error:
        raise InvalidRequest(f"'stream_options': {error}.", param="stream_options") from None
    except NotAnObject:
        raise InvalidRequest("'stream_options' must be an object.", param="stream_options") from None
    value = inner.get("include_usage")
    return value is not None and body[span.start + value.start : span.start + value.end] == b"true"


def _field(body: bytes, spans: dict[str, Member], key: str, kind: type[T], expected: str) -> T | None:
    span = spans.get(key)
    if span is None or body[span.start : span.end] == b"null":
        return None
    try:
        value: T = _DECODERS[kind].decode(body[span.start : span.end])
    except msgspec.DecodeError:
        raise InvalidRequest(f"'{key}' must be {expected}.", param=key) from None
    return value
