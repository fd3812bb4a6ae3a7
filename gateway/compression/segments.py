"""Cuts a text into segments that are handled alike: code, JSON, paragraphs, and the gaps between them.

The segments of a text, put together, are the text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["code", "json", "text", "gap"]
# Nothing is given back of what opens one: a last line of a million signs would take minutes.
_FENCE = re.compile(
    r"^[ \t]*+(`{3,}+|~{3,}+)[^\n]*+\n.*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_JSON_START = re.compile(r"^[ \t]*(?=[\[{])", re.MULTILINE)
# Begins with one certain character, which is looked for in C.
_GAP = re.compile(r"\n(?:[ \t]*\n)+")
_MIN_JSON = 60
# Each failing attempt reads on until the error: strangers must not size that.
_MOST_ATTEMPTS = 20
_SCAN = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a text."""

    kind: Kind
    text: str


def segments(text: str) -> list[Segment]:
    """Return the segments of a text."""
    found: list[Segment] = []
    position = 0
    for start, end, kind in _special(text):
        found += _plain(text[position:start])
        found.append(Segment(kind, text[start:end]))
        position = end
    found += _plain(text[position:])
    return found


def _special(text: str) -> list[tuple[int, int, Kind]]:
    spans: list[tuple[int, int, Kind]] = []
    position = 0
    fences = (
        [(found.start(), found.end()) for found in _FENCE.finditer(text)]
        if "```" in text or "~~~" in text
        else []
    )
    for start, end in fences:
        spans += _json(text, position, start)
        spans.append((start, end, "code"))
        position = end
    return spans + _json(text, position, len(text))


def _json(text: str, start: int, end: int) -> list[tuple[int, int, Kind]]:
    spans: list[tuple[int, int, Kind]] = []
    if text.find("{", start, end) < 0 and text.find("[", start, end) < 0:
        return spans
    attempts = 0
    while attempts < _MOST_ATTEMPTS and (found := _JSON_START.search(text, start, end)):
        attempts += 1
        begin = found.end()
        try:
            _, stop = _SCAN(text, begin)
        except (ValueError, RecursionError):
            stop = begin
        # A line that goes on behind it is prose with a bracket, such as "[1] see below".
        whole = stop <= end and not text[stop : stop + 1].strip()
        if whole and stop - begin >= _MIN_JSON:
            spans.append((begin, stop, "json"))
            start = stop
        else:
            start = begin + 1
    return spans


def _plain(text: str) -> list[Segment]:
    found: list[Segment] = []
    # Beside code and JSON there is one line end that belongs to neither.
    start = 1 if text.startswith("\n") and not text.startswith("\n\n") else 0
    if start:
        found.append(Segment("gap", "\n"))
    for gap in _GAP.finditer(text, start):
        if gap.start() > start:
            found.append(_text(text[start : gap.start()]))
        found.append(Segment("gap", gap[0]))
        start = gap.end()
    rest = text[start:]
    if rest.endswith("\n") and len(rest) > 1:
        return [*found, _text(rest[:-1]), Segment("gap", "\n")]
    return [*found, _text(rest)] if rest else found


def _text(text: str) -> Segment:
    return Segment("gap" if text.isspace() else "text", text)
