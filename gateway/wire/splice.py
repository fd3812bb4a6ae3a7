"""Changes single values inside a JSON object's bytes and leaves every other byte as it was."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.wire.members import Member, members


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `body[start:end]` by `text`."""

    start: int
    end: int
    text: bytes


def splice(body: bytes, edits: list[Edit]) -> bytes:
    """Return `body` with the edits made; they must not overlap."""
    if not edits:
        return body
    parts = []
    position = 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [body[position : edit.start], edit.text]
        position = edit.end
    parts.append(body[position:])
    return b"".join(parts)


def set_value(spans: dict[str, Member], key: str, value: object) -> Edit:
    """Return the edit that replaces the value of a member that is there."""
    member = spans[key]
    return Edit(member.start, member.end, msgspec.json.encode(value))


def ask_for_usage(body: bytes, spans: dict[str, Member]) -> Edit | None:
    """Return the edit that makes a stream report its usage, or None if the client asks for that himself.

    Raises NotAnObject if `stream_options` is something else than an object or null.
    """
    options = spans.get("stream_options")
    if options is None:
        # Behind the last member: the object has one at least, since a request without `stream` is no stream.
        end = max(member.end for member in spans.values())
        return Edit(end, end, b',"stream_options":{"include_usage":true}')
    value = body[options.start : options.end]
    if value == b"null":
        return Edit(options.start, options.end, b'{"include_usage":true}')
    inner = members(value)
    wish = inner.get("include_usage")
    if wish is None:
        brace = options.start + 1
        return Edit(brace, brace, b'"include_usage":true' + (b"," if inner else b""))
    if value[wish.start : wish.end] == b"true":
        return None
    return Edit(options.start + wish.start, options.start + wish.end, b"true")


def drop(spans: dict[str, Member], key: str) -> Edit:
    """Return the edit that takes out a member that is there, and the comma that belongs to it."""
    member = spans[key]
    ends = sorted(spans.values(), key=lambda other: other.start)
    place = ends.index(member)
    if place:
        return Edit(ends[place - 1].end, member.end, b"")
    if len(ends) > 1:
        return Edit(member.key_start, ends[1].key_start, b"")
    return Edit(member.key_start, member.end, b"")


def without_member(body: bytes, key: str) -> bytes:
    """Return the object without one of its members, if it has it."""
    spans = members(body)
    return splice(body, [drop(spans, key)]) if key in spans else body
