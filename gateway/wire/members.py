"""Finds the top-level members of a JSON object as byte spans, without decoding what they hold.

msgspec checks the syntax and the depth of the whole document in C and hands out each value as the bytes it
stands in. Since JSON objects keep their order, walking over those lengths gives every value's place, and the
walk goes astray exactly where a key was given twice.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

_DECODE = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OPEN = re.compile(rb"[ \t\r\n]*\{")
_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_SPACE = 0x20
_NEXT = re.compile(rb"[ \t\r\n]*([,}])")

# OpenAI's longest request has about forty. The walk is Python's work, so strangers must not size it.
MAX_MEMBERS = 1000


class NotAnObject(ValueError):
    """The bytes are not one JSON object in valid UTF-8; the message says why, without quoting them."""


class DuplicateKey(NotAnObject):
    """A key stands twice in the object, so two readers may disagree about its value."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key '{key[:64]}' is given twice")
        self.key = key


class Member(NamedTuple):
    """A member's key begins at `key_start`; its value is `body[start:end]`."""

    key_start: int
    start: int
    end: int


def members(body: bytes) -> dict[str, Member]:
    """Return the members of the JSON object `body`. Raises NotAnObject, DuplicateKey."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise NotAnObject(f"it is not valid UTF-8 at byte {error.start}") from None
    try:
        values = _DECODE(body)
    except msgspec.ValidationError:
        raise NotAnObject("it is not an object") from None
    except msgspec.DecodeError as error:
        raise NotAnObject(str(error)) from None
    except RecursionError:
        raise NotAnObject("it is nested too deeply") from None
    if len(values) > MAX_MEMBERS:
        raise NotAnObject(f"it has more than {MAX_MEMBERS} members")
    return _spans(body, values)


def _spans(body: bytes, values: dict[str, msgspec.Raw]) -> dict[str, Member]:
    opening = _OPEN.match(body)
    assert opening is not None
    position = opening.end()
    spans: dict[str, Member] = {}
    following = b""
    for key, raw in values.items():
        # Most clients write without white space and escapes.
        plain = b'"%b":' % key.encode()
        start = position + len(plain)
        if body.startswith(plain, position) and body[start] > _SPACE:
            key_start = position
        else:
            match = _KEY.match(body, position)
            assert match is not None
            key_start, start = match.span(1)[0], match.end()
            if _decode_key(match[1]) != key:
                raise DuplicateKey(_decode_key(match[1]))
        value = memoryview(raw)
        end = start + len(value)
        if not body.startswith(value, start):
            raise DuplicateKey(key)
        spans[key] = Member(key_start, start, end)
        following = body[end : end + 1]
        position = end + 1
        if following != b"," and following != b"}":
            after = _NEXT.match(body, end)
            if after is None:
                raise DuplicateKey(key)
            following, position = after[1], after.end()
    if following == b",":
        surplus = _KEY.match(body, position)
        assert surplus is not None
        raise DuplicateKey(_decode_key(surplus[1]))
    return spans


def _decode_key(raw: bytes) -> str:
    if b"\\" in raw:
        return msgspec.json.decode(raw, type=str)
    return raw[1:-1].decode()
