"""Reads tool calls out of an answer while it is written."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import Enum

from backend_engine.structured.grammar import AFTER_ARGUMENTS, BEFORE_ARGUMENTS, BEFORE_NAME


@dataclass(slots=True)
class Call:
    """One call, as far as it is known."""

    index: int
    name: str
    arguments: str = ""
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")


@dataclass(frozen=True, slots=True)
class CallPiece:
    """What became known of a call: that it begins, or more of its arguments."""

    call: Call
    begins: bool
    arguments: str


class _Place(Enum):
    CONTENT = BEFORE_NAME
    NAME = BEFORE_ARGUMENTS
    ARGUMENTS = AFTER_ARGUMENTS


class ToolCallReader:
    """Takes an answer's text piece by piece and tells content from calls.

    The grammar lets a call be written in one way only, so fixed texts end each part of it. A tail that
    may be the beginning of such a text is held back until it is decided.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.content = ""
        self._place = _Place.CONTENT
        self._held = ""

    @property
    def complete(self) -> bool:
        """There are calls, and none is cut short."""
        return bool(self.calls) and self._place is _Place.CONTENT

    def push(self, text: str, *, final: bool) -> tuple[str, list[CallPiece]]:
        """Take more text; return its content and its pieces of calls. `final` holds nothing back."""
        self._held += text
        content, pieces = "", []
        while True:
            part, ended = self._next(final)
            match self._place:
                case _Place.CONTENT:
                    # Between calls stands a line break that belongs to neither.
                    content += part if not self.calls else ""
                case _Place.NAME if ended:
                    self.calls.append(Call(len(self.calls), part))
                    pieces.append(CallPiece(self.calls[-1], begins=True, arguments=""))
                case _Place.ARGUMENTS if part:
                    self.calls[-1].arguments += part
                    pieces.append(CallPiece(self.calls[-1], begins=False, arguments=part))
            if not ended:
                self.content += content
                return content, pieces
            self._place = _NEXT[self._place]

    def _next(self, final: bool) -> tuple[str, bool]:
        """Take the text up to the end of the present part, or as much as is certain of it."""
        end = self._place.value
        part, found, rest = self._held.partition(end)
        if found:
            self._held = rest
            return part, True
        # A name comes in one piece.
        keep = len(self._held) if self._place is _Place.NAME else 0 if final else _overlap(self._held, end)
        cut = len(self._held) - keep
        part, self._held = self._held[:cut], self._held[cut:]
        return part, False


_NEXT = {_Place.CONTENT: _Place.NAME, _Place.NAME: _Place.ARGUMENTS, _Place.ARGUMENTS: _Place.CONTENT}


def _overlap(text: str, marker: str) -> int:
    """Return the length of the longest tail of `text` that begins `marker`."""
    longest = min(len(text), len(marker) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(marker[:size])), 0)
