"""The parts of a text from which whole units may go: sentences or lines of a passage, records of JSON.

A unit is a slice of the text and is kept whole or not at all. Where something was left out the text says so,
so that nobody takes it for absent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import msgspec

from gateway.compression.segments import Segment
from gateway.wire.elements import NotAnArray, elements
from gateway.wire.members import NotAnObject, members

GAP_MARK = "[…] "
LONG_LINE = 160
"""Lines of this length are paragraphs that stand one below the other."""
LEAD = 120
_MIN_RECORDS = 4
_MOST_WRAPPERS = 8
"""Objects and arrays around records; each is read once more."""
_LONGEST_ABBREVIATION, _LONGEST_QUOTATION = 8, 2000
_RECORDS_MARK = 36
_SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])|(?<=[。！？])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|No|Nos|Fig|Eq|Vol|pp|al|etc|e\.g|i\.e|cf|approx|Inc|Ltd|Co|Corp|Gen|"
    r"Col|Sgt|Capt|Lt|Gov|Sen|Rep|Rev|Hon|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|U\.S|U\.K|a\.m|p\.m))\.$"
)


class Part(Protocol):
    """Something that units can be left out of."""

    @property
    def lead(self) -> str:
        """What stays with any unit and tells what they are about."""
        ...

    @property
    def units(self) -> Sequence[str]:
        """The units in their order."""
        ...

    @property
    def frame(self) -> int:
        """Characters that stay with any unit, the marks of what is missing among them."""
        ...

    def render(self, keep: Collection[int]) -> str:
        """Return the text with these units."""
        ...


@dataclass(frozen=True, slots=True)
class Passage:
    """Sentences, lines, or one block of code. Its lead, such as a title, stays with any of them."""

    lead: str
    units: Sequence[str]
    prose: bool = False
    """The units are sentences, so that small words may go; of anything else nothing but whole units."""

    @property
    def whole(self) -> str:
        return self.lead + "".join(self.units)

    @property
    def frame(self) -> int:
        return len(self.lead) + len(GAP_MARK)

    def render(self, keep: Collection[int]) -> str:
        if not keep:
            return ""
        if len(keep) == len(self.units):
            return self.whole
        out, left_out = [self.lead], False
        for place, unit in enumerate(self.units):
            if place in keep:
                out += [GAP_MARK, unit] if left_out else [unit]
            left_out = place not in keep
        return "".join(out).rstrip() + (" […]" if left_out else "")


@dataclass(frozen=True, slots=True)
class Records:
    """The elements of the array, or the members of the object, that makes up most of a piece of JSON."""

    before: str
    units: Sequence[str]
    after: str
    array: bool

    @property
    def lead(self) -> str:
        return ""

    @property
    def whole(self) -> str:
        return self.before + ",".join(self.units) + self.after

    @property
    def frame(self) -> int:
        return len(self.before) + len(self.after) + _RECORDS_MARK

    def render(self, keep: Collection[int]) -> str:
        if len(keep) == len(self.units):
            return self.whole
        gone = len(self.units) - len(keep)
        said = f"{gone} of {len(self.units)} left out"
        mark = f'"[{said}]"' if self.array else f'"[left out]":"{said}"'
        return self.before + ",".join([*(self.units[place] for place in sorted(keep)), mark]) + self.after


def passages(text: str) -> list[Passage]:
    """Return the passages of a paragraph; put together they are the paragraph."""
    lines = text.splitlines(keepends=True)
    if len(lines) > 1 and sum(len(line) > LONG_LINE for line in lines) * 2 >= len(lines):
        return _long_lines(lines)
    if len(lines) > 2 and not _wrapped(lines):
        return [Passage("", lines)]
    return [_prose(text)]


def records(text: str) -> Records | None:
    """Return the records of a piece of JSON, None if it has no such shape."""
    value = text.encode()
    start, end = 0, len(value)
    try:
        for _ in range(_MOST_WRAPPERS):
            array = value[start : start + 1] == b"["
            if array:
                spans = [(start + first, start + last) for first, last in elements(value[start:end])]
                inner = spans
            elif value[start : start + 1] == b"{":
                found = members(value[start:end]).values()
                spans = [(start + span.key_start, start + span.end) for span in found]
                inner = [(start + span.start, start + span.end) for span in found]
            else:
                return None
            largest = max(inner, key=lambda span: span[1] - span[0], default=(0, 0))
            if (largest[1] - largest[0]) * 10 > (end - start) * 8 and value[largest[0]] in b"[{":
                start, end = largest
                continue
            break
    except (NotAnArray, NotAnObject, msgspec.DecodeError, RecursionError):
        return None
    if len(spans) < _MIN_RECORDS:
        return None
    units = [value[first:last].decode() for first, last in spans]
    return Records(value[: spans[0][0]].decode(), units, value[spans[-1][1] :].decode(), array)


def part_of(segment: Segment) -> list[Part]:
    """Return the parts of a segment that is neither a gap nor protected."""
    if segment.kind == "json" and (found := records(segment.text)) is not None:
        return [found]
    if segment.kind == "text":
        return list(passages(segment.text))
    return [Passage("", [segment.text])]


def sentences(text: str) -> list[str]:
    """Return the sentences of prose with the white space behind them; a quotation is never cut in two."""
    ends = [0]
    for found in _SENTENCE_END.finditer(text):
        end = found.end()
        if _ABBREVIATION.search(
            text[max(ends[-1], found.start() - _LONGEST_ABBREVIATION) : found.start() + 1]
        ):
            continue
        # A quotation mark that is never closed must not hold all that follows together.
        if end - ends[-1] <= _LONGEST_QUOTATION and _open_quotation(text[ends[-1] : end]):
            continue
        ends.append(end)
    if ends[-1] < len(text):
        ends.append(len(text))
    return [text[start:end] for start, end in pairwise(ends)]


def _open_quotation(text: str) -> bool:
    return text.count('"') % 2 == 1 or text.count("“") > text.count("”")


def _prose(text: str) -> Passage:
    head, newline, rest = text.partition("\n")
    if newline and len(head) <= LEAD and not head.rstrip().endswith((".", "!", "?", ",")) and rest.strip():
        return Passage(head + newline, sentences(rest), prose=True)
    return Passage("", sentences(text), prose=True)


def _long_lines(lines: Sequence[str]) -> list[Passage]:
    found: list[Passage] = []
    lead = ""
    for line in lines:
        if len(line) <= LONG_LINE and not lead and len(line) <= LEAD:
            lead = line
            continue
        found.append(Passage(lead, sentences(line), prose=True))
        lead = ""
    if lead:
        found.append(Passage("", [lead]))
    return found


def _wrapped(lines: Sequence[str]) -> bool:
    """Return whether lines are prose that was broken to a width, and not entries of their own."""
    goes_on = sum(
        line.rstrip()[-1:].isalpha() and following[:1].isalpha() and line.count(" ") >= 5
        for line, following in pairwise(lines)
    )
    return goes_on * 2 >= len(lines) - 1
