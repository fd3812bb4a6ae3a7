"""The texts of a chat request and where they stand in the client's bytes.

Only what is read here can ever be changed: the texts of user and tool messages. System prompts, the model's
own words, tool calls, tools and schemas are not handed out, so no stage can touch them.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.wire.elements import NotAnArray, elements
from gateway.wire.members import NotAnObject, members

_STRING = msgspec.json.Decoder(str).decode
USER = "user"
TOOLS = ("tool", "function")
MARK = b'"cache_control"'


class NotReadable(ValueError):
    """The messages have a shape that we do not know, so nothing of them is ours to change."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text; `body[start:end]` is the JSON string that holds it."""

    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `texts` is empty where nothing may be changed."""

    role: str
    texts: tuple[Text, ...]


def read_messages(body: bytes, start: int, end: int) -> list[Message]:
    """Return the messages in `body[start:end]`. Raises NotReadable.

    A mark of an upstream's own cache (`cache_control`) covers everything up to it: those messages have no
    texts.
    """
    try:
        array = body[start:end]
        spans = [(start + first, start + last) for first, last in elements(array)]
        messages = [_message(body, first, last) for first, last in spans]
    except (NotAnArray, NotAnObject, msgspec.DecodeError, RecursionError) as error:
        raise NotReadable(str(error)) from None
    if MARK in array:
        marked = max(place for place, (first, last) in enumerate(spans) if MARK in body[first:last])
        messages[: marked + 1] = [Message(message.role, ()) for message in messages[: marked + 1]]
    return messages


def _message(body: bytes, start: int, end: int) -> Message:
    spans = members(body[start:end])
    role = spans.get("role")
    name = "" if role is None else _STRING(body[start + role.start : start + role.end])
    content = spans.get("content")
    if content is None or (name != USER and name not in TOOLS):
        return Message(name, ())
    return Message(name, tuple(_texts(body, start + content.start, start + content.end)))


def _texts(body: bytes, start: int, end: int) -> list[Text]:
    first = body[start : start + 1]
    if first == b'"':
        return [Text(_STRING(body[start:end]), start, end)]
    if first != b"[":
        return []
    texts = []
    for part_start, part_end in elements(body[start:end]):
        part = members(body[start + part_start : start + part_end])
        kind, text = part.get("type"), part.get("text")
        base = start + part_start
        # Pictures, files and kinds that do not exist yet stay as they are.
        if kind is None or text is None or body[base + kind.start : base + kind.end] != b'"text"':
            continue
        if body[base + text.start : base + text.start + 1] == b'"':
            place = (base + text.start, base + text.end)
            texts.append(Text(_STRING(body[place[0] : place[1]]), *place))
    return texts
