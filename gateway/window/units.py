"""Cuts a long text into units that are never taken apart: sentences, lines, records of JSON, blocks of code.

The units of a text, put together, are the text. What becomes of the beginning of a text does not depend on
what is added at its end, but for the paragraph that grows. Time is linear in the length of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

from gateway.compression.parts import LEAD, passages, records
from gateway.compression.segments import Kind, segments
from gateway.window.base import Count

_SENTENCE_ENDS = (".", "!", "?", ",", ";", "。", "！", "？")
_SPACES = (" ", "\n", "\t")


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a text with the white space behind it."""

    start: int
    end: int
    tokens: int
    block: int
    """Units of one paragraph, fence or piece of JSON have the same number."""


def units(text: str, most: int, count: Count) -> list[Unit]:
    """Return the units of a text, of at most `most` tokens each.

    A sentence, record or block of code with more is cut at lines, then at words, and a word with more
    anywhere. `count` must never find fewer tokens in a text than in a part of it.
    """
    found: list[Unit] = []
    for start, end, kind, number in _segments(text):
        for first, last in pairwise(_borders(text, start, end, kind, most, count)):
            tokens = count(text[first:last])
            if tokens <= most:
                found.append(Unit(first, last, tokens, number))
                continue
            found += [Unit(*piece, number) for piece in _lines(text, first, last, most, count)]
    return found


def _segments(text: str) -> list[tuple[int, int, Kind, int]]:
    """Return where paragraphs, fences and pieces of JSON begin and end, and the numbers of their blocks.

    White space goes with what stands before it, and a heading is of one block with what follows.
    """
    found: list[tuple[int, int, Kind, int]] = []
    start = end = number = 0
    kind: Kind = "gap"
    heading = False
    for segment in segments(text):
        begin, end = end, end + len(segment.text)
        if segment.kind == "gap":
            continue
        if kind != "gap":
            found.append((start, begin, kind, number))
            number += not (heading and segment.kind == "text")
            start = begin
        heading = segment.kind == "text" and _is_heading(segment.text)
        kind = segment.kind
    return [*found, (start, end, kind, number)] if end else found


def _is_heading(text: str) -> bool:
    return "\n" not in text and len(text) <= LEAD and not text.rstrip().endswith(_SENTENCE_ENDS)


def _borders(text: str, start: int, end: int, kind: Kind, most: int, count: Count) -> list[int]:
    """Return where a block may be taken apart, its two ends included."""
    block = text[start:end]
    if kind == "text":
        # The white space behind it would look like lines of its own.
        pieces = [
            passage.lead + unit if place == 0 else unit
            for passage in passages(block.rstrip())
            for place, unit in enumerate(passage.units)
        ]
        return [start, *(start + at for at in accumulate(map(len, pieces[:-1]))), end]
    if kind == "json" and count(block) > most and (found := records(block)) is not None:
        borders, at = [start], len(found.before)
        for unit in found.units:
            # Only white space and a comma stand between records.
            at = block.index(unit, at)
            borders.append(start + at)
            at += len(unit)
        # The frame before the first record goes with it.
        return [start, *borders[2:], end]
    return [start, end]


def _lines(text: str, start: int, end: int, most: int, count: Count) -> Iterator[tuple[int, int, int]]:
    """Yield pieces of something too long: as many whole lines, or else words, as fit."""
    # How many characters fit is guessed from all of it, so that few guesses are counted.
    guess = max(1, (end - start) * most // max(1, count(text[start:end])))
    while start < end:
        size = guess
        while True:
            stop = _border(text, start, min(end, start + size), end)
            tokens = count(text[start:stop])
            if tokens <= most or stop - start == 1:
                break
            size = max(1, (stop - start) * 3 // 4)
        yield start, stop, tokens
        start = stop


def _border(text: str, start: int, stop: int, end: int) -> int:
    """Return the last good place to cut up to `stop`: a line end in the second half, a space, or `stop`."""
    if stop == end:
        return end
    line = text.rfind("\n", start + (stop - start) // 2, stop)
    if line >= 0:
        return line + 1
    space = max(text.rfind(space, start, stop) for space in _SPACES)
    # White space that begins a piece alone would make no progress towards a border.
    return space + 1 if space > start else stop
