"""What a model gets that asks for text which was left out: by lines, or what has to do with a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.compression import bm25
from gateway.compression.spans import Span

MOST_CHARS = 12_000
"""Characters of one result."""
MOST_FOUND = 4000
"""The same for a query: the best of it, or all that was saved would come back."""
_PASSAGE = 1000
"""Characters that are compared with a query at once: whole lines, or parts of longer ones."""
_TOO_LONG = "[the rest is too long for one answer: ask again from line {}, or with a query]"


@dataclass(frozen=True, slots=True)
class _Lines:
    """Text of the original, and the lines in which it stands."""

    first: int
    last: int
    text: str

    def render(self) -> str:
        return f"[lines {self.first}-{self.last}]\n{self.text}"


def look_up(
    spans: Sequence[Span], start: int | None = None, end: int | None = None, query: str | None = None
) -> str | None:
    """Return what is asked for, in its order and with its lines; None if nothing of that was left out.

    `start` and `end` are lines of the original, both included. With a query it is the passages that match it
    best, of those lines or of all.
    """
    first, last = start or 1, end if end is not None else max((span.last_line for span in spans), default=0)
    parts = [part for span in spans if (part := _clipped(span, first, last)) is not None]
    if query is None or not query.strip():
        return _joined(parts)
    passages = [passage for part in parts for passage in _passages(part)]
    scores = bm25.scores(query, [passage.text for passage in passages])
    best = sorted(
        (place for place, score in enumerate(scores) if score > 0), key=lambda place: -scores[place]
    )
    chosen: list[int] = []
    size = 0
    for place in best:
        size += len(passages[place].render())
        if size > MOST_FOUND and chosen:
            break
        chosen.append(place)
    return _joined([passages[place] for place in sorted(chosen)])


def _clipped(span: Span, first: int, last: int) -> _Lines | None:
    if first > last or span.line > last or span.last_line < first or not span.text.strip():
        return None
    if span.line >= first and span.last_line <= last:
        return _Lines(span.line, span.last_line, span.text)
    lines = span.text.split("\n")[max(0, first - span.line) : last - span.line + 1]
    begins = max(span.line, first)
    return _Lines(begins, min(last, span.last_line), "\n".join(lines))


def _passages(part: _Lines) -> list[_Lines]:
    found: list[_Lines] = []
    held: list[str] = []
    size, begins = 0, part.first
    for number, line in enumerate(part.text.split("\n"), part.first):
        if held and size + len(line) > _PASSAGE:
            found.append(_Lines(begins, number - 1, "\n".join(held)))
            held, size, begins = [], 0, number
        if len(line) > _PASSAGE:
            found += [
                _Lines(number, number, line[at : at + _PASSAGE]) for at in range(0, len(line), _PASSAGE)
            ]
            begins = number + 1
            continue
        held.append(line)
        size += len(line) + 1
    if held:
        found.append(_Lines(begins, part.last, "\n".join(held)))
    return found


def _joined(parts: Sequence[_Lines]) -> str | None:
    if not parts:
        return None
    out: list[str] = []
    left = MOST_CHARS
    for part in parts:
        text = part.render()
        if len(text) > left:
            shown = text[: max(0, left)]
            at = part.first + max(0, shown.count("\n") - 1)
            out.append(f"{shown}\n{_TOO_LONG.format(at)}")
            break
        out.append(text)
        left -= len(text)
    return "\n\n".join(out)
