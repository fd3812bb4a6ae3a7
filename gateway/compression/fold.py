"""Lossless folding: what is said twice, or says nothing, is written once or not at all."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby

from gateway.compression.json_fold import NotAnArray, NotAnObject, fold
from gateway.compression.segments import Segment

REPEATS = 3
"""Equal lines in a row from which they are folded."""
LONG = 160
"""Characters from which a passage that came before is referred to."""
_LINE_REPEATED = "[the line above {} more times]"
_TRAILING = re.compile(r"[ \t]+(?=\n|\Z)")
_BLANK_LINES = re.compile(r"\n{3,}")
_QUOTED = 60


def folded_json(text: str) -> str:
    """Return JSON with its content in fewer characters, or as it is."""
    try:
        smaller = fold(text.encode()).decode()
    except (NotAnArray, NotAnObject, UnicodeEncodeError):
        return text
    return smaller if len(smaller) < len(text) else text


def folded_lines(text: str) -> str:
    """Return a text in which equal lines in a row stand once, with their number."""
    if "\n" not in text:
        return text
    out: list[str] = []
    for line, run in groupby(text.split("\n")):
        count = sum(1 for _ in run)
        note = _LINE_REPEATED.format(count - 1)
        if line.strip() and count >= REPEATS and (count - 1) * (len(line) + 1) > len(note) + 1:
            out += [line, note]
        else:
            out += [line] * count
    return "\n".join(out)


def folded_space(text: str) -> str:
    """Return a text without white space at the ends of lines, and with one blank line in place of several.

    Indentation stays.
    """
    # Looking whether there is any is much quicker than the pattern, and mostly there is none.
    if " \n" in text or "\t\n" in text or text.endswith((" ", "\t")):
        text = _TRAILING.sub("", text)
    return _BLANK_LINES.sub("\n\n", text) if "\n\n\n" in text else text


@dataclass(slots=True)
class Seen:
    """Passages that stand in the prompt as they are, so that a repeated one can refer to them."""

    passages: set[str] = field(default_factory=set)

    def note(self, segment: Segment) -> None:
        """Remember a passage that stays."""
        if len(segment.text) >= LONG:
            self.passages.add(segment.text)

    def folded(self, segment: Segment) -> Segment:
        """Return a reference to an equal passage before, or the segment itself."""
        if len(segment.text) < LONG or segment.text not in self.passages:
            return segment
        begin = " ".join(segment.text[:_QUOTED].split())
        return Segment("text", f"[same as the earlier passage that begins: {begin}…]")
