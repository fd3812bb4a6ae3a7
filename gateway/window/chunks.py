"""Cuts a long text into chunks of so many tokens, at borders of paragraphs where possible, else of units.

Every character is in a chunk, in order. A chunk's end depends on the block behind it and on nothing later, so
a text that grows keeps its chunks, but for the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from gateway.window.base import Count
from gateway.window.units import Unit, units


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range of a text, and of its units."""

    start: int
    end: int
    fresh: int
    """The first character that no chunk before has."""
    units: range
    tokens: int
    """Its units' tokens together, which may be somewhat more than those of all of it."""


def chunked(text: str, most: int, overlap: int, count: Count) -> list[Chunk]:
    """Return chunks of at most `most` tokens, each with at most `overlap` tokens of the one before."""
    return packed(units(text, most, count), most, overlap)


def packed(pieces: Sequence[Unit], most: int, overlap: int) -> list[Chunk]:
    """Return chunks of units. A unit of more than `most` tokens is a chunk of its own."""
    of_block = {
        number: sum(unit.tokens for unit in group)
        for number, group in groupby(pieces, key=lambda unit: unit.block)
    }
    chunks: list[Chunk] = []
    first = last = 0
    while last < len(pieces):
        fresh = last
        first, used = _overlap(pieces, first, fresh, most, overlap)
        while last < len(pieces):
            unit = pieces[last]
            begins = last > fresh and unit.block != pieces[last - 1].block
            if used + unit.tokens > most and last > fresh:
                break
            # Rather a smaller chunk than a paragraph in two, unless it would be very small.
            if begins and used + of_block[unit.block] > most and 2 * used >= most:
                break
            used += unit.tokens
            last += 1
        chunks.append(
            Chunk(pieces[first].start, pieces[last - 1].end, pieces[fresh].start, range(first, last), used)
        )
    return chunks


def _overlap(pieces: Sequence[Unit], before: int, fresh: int, most: int, overlap: int) -> tuple[int, int]:
    """Return the unit from which a chunk repeats the one that began at `before`, and the tokens repeated."""
    room = min(overlap, most - pieces[fresh].tokens)
    first, used = fresh, 0
    while first - 1 > before and used + pieces[first - 1].tokens <= room:
        first -= 1
        used += pieces[first].tokens
    return first, used
