"""What was left out of a text: found by laying the text that is sent beside the original.

The stages that make a prompt shorter do not say what they took: they drop, fold and put marks. Whatever they
did, the original is what is sent with its spans put back, character for character. How tight the spans are
depends on how much of what is sent is found in the original, in its order; that it is right does not.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

_MARK = re.compile(
    r"\[(?:lines (\d+)-(\d+)|\d+ passages?|\d+ of \d+|\d+ characters of encoded data) left out\]"
    r'|"\[left out\]":"\d+ of \d+ left out"'
    r"|\[…\]"
)
"""What stands for something that is missing, as the stages write it."""
_NAMED = "left out"
_PIECE = re.compile(r"[^,.;:!?\n]*[,.;:!?\n]*\s*")
_LEAST_PIECE = 4
"""A comma would be found anywhere."""
_MOST_SEARCHED = 20_000_000
"""Characters that are looked through in all, some 30 ms: what is not found is compared with all that follows,
and strangers size it."""


class Span(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of the original that is not in the text that was sent."""

    start: int
    end: int
    """Characters of the original."""
    line: int
    """Of the original, in which it begins; the first is 1."""
    at: int
    put: int
    """Where in the text that was sent, and how many characters stand there in its place."""
    text: str

    @property
    def last_line(self) -> int:
        """The line in which it ends."""
        return self.line + self.text.removesuffix("\n").count("\n")


def left_out(original: str, sent: str) -> list[Span]:
    """Return what is not in `sent`, in its order."""
    lines = [0, *(found.end() for found in re.finditer("\n", original))]
    spans: list[Span] = []
    # Up to where the original is accounted for, and from where on what is sent is not in it.
    done, since = 0, 0
    for start, end, found in _found(original, sent, lines):
        if found > done or start > since:
            spans.append(_span(original, lines, done, found, since, start))
        done, since = found + (end - start), end
    if done < len(original) or since < len(sent):
        spans.append(_span(original, lines, done, len(original), since, len(sent)))
    return spans


def restored(sent: str, spans: Sequence[Span]) -> str:
    """Return the original."""
    out: list[str] = []
    position = 0
    for span in spans:
        out += [sent[position : span.at], span.text]
        position = span.at + span.put
    return "".join([*out, sent[position:]])


def marked(sent: str, spans: Sequence[Span], note: str) -> tuple[str, list[Span]] | None:
    """Return the text with `note` and the lines that are missing in its marks, and the spans for that.

    Where only `[…]` tells of missing sentences, one mark of its own at the end has the note. None if there is
    no mark: then nothing is missing, but said otherwise.
    """
    out: list[str] = []
    placed: list[Span] = []
    position = size = 0
    marks = named = False
    for span in spans:
        before, inserted = sent[position : span.at], sent[span.at : span.at + span.put]
        position = span.at + span.put
        marks |= _MARK.search(inserted) is not None
        with_note = _MARK.sub(partial(_with_note, note=note, span=span), inserted)
        named |= with_note != inserted
        inserted = with_note
        out += [before, inserted]
        size += len(before)
        placed.append(msgspec.structs.replace(span, at=size, put=len(inserted)))
        size += len(inserted)
    if not marks:
        return None
    rest = sent[position:]
    if named:
        return "".join([*out, rest]), placed
    last, end = spans[-1], size + len(rest)
    mark = f"\n[{_NAMED}; {note} start={spans[0].line} end={last.last_line}]"
    if not rest and placed:
        # What ends the text stands for the last span, and the mark with it.
        placed[-1] = msgspec.structs.replace(placed[-1], put=placed[-1].put + len(mark))
    else:
        size_of_original = last.end + len(rest)
        placed.append(Span(size_of_original, size_of_original, last.last_line, end, len(mark), ""))
    return "".join([*out, rest, mark]), placed


def _with_note(mark: re.Match[str], *, note: str, span: Span) -> str:
    text = mark[0]
    if _NAMED not in text:
        return text
    first, last = (mark[1], mark[2]) if mark[1] else (span.line, span.last_line)
    return f"{text[:-1]}; {note} start={first} end={last}{text[-1]}"


def _span(original: str, lines: Sequence[int], start: int, end: int, at: int, until: int) -> Span:
    return Span(start, end, bisect_right(lines, start), at, until - at, original[start:end])


def _found(original: str, sent: str, lines: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield start and end of parts of what is sent, and where in the original they stand."""
    cursor = position = 0
    hint, left = -1, _MOST_SEARCHED

    def search(first: int, last: int) -> int:
        # The earliest place leaves the most to what follows.
        nonlocal left
        if left <= 0:
            return -1
        place = original.find(sent[first:last], cursor)
        left -= (len(original) if place < 0 else place) - cursor
        return place

    for mark in [*_MARK.finditer(sent), None]:
        start, end = position, len(sent) if mark is None else mark.start()
        pieces, least = [(start, end)], 1
        if hint >= cursor and original.startswith(sent[start:end], hint):
            cursor = hint
        elif search(start, end) < 0:
            found = _PIECE.finditer(sent[start:end]) if left > 0 else ()
            pieces = [(start + one.start(), start + one.end()) for one in found]
            least = _LEAST_PIECE
        for first, last in pieces:
            if last - first < least or (place := search(first, last)) < 0:
                continue
            yield first, last, place
            cursor = place + last - first
        if mark is None:
            return
        position, hint = mark.end(), -1
        if original.startswith(mark[0], cursor):
            # Not a mark of ours: it was there before.
            yield mark.start(), mark.end(), cursor
            cursor += len(mark[0])
        elif mark[2] and int(mark[2]) < len(lines):
            # What follows begins with the line end of the last line that is missing.
            hint = lines[int(mark[2])] - 1
