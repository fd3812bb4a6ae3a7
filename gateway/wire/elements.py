"""Finds the elements of a JSON array as byte spans, without decoding what they hold."""

from __future__ import annotations

import msgspec

_DECODE = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPACE = b" \t\r\n"


class NotAnArray(ValueError):
    """The bytes are not one JSON array."""


def elements(array: bytes) -> list[tuple[int, int]]:
    """Return where each element of the JSON array begins and ends. Raises NotAnArray."""
    try:
        values = _DECODE(array)
    except (msgspec.DecodeError, RecursionError):
        raise NotAnArray("it is not a JSON array") from None
    spans: list[tuple[int, int]] = []
    position = _after_space(array, 0) + 1
    for raw in values:
        start = _after_space(array, position)
        end = start + len(memoryview(raw))
        spans.append((start, end))
        # Behind the comma; the last element's bracket is not looked at.
        position = _after_space(array, end) + 1
    return spans


def _after_space(text: bytes, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position
