"""Tells while an answer is being written that it will not do, so that nobody waits for its end.

Only what the rest of the answer cannot mend counts. An answer that looks good so far is never let go early:
most that are wrong are wrong at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.after.form import refuses, repetition

_HEAD_CHARS = 280
"""Somewhat more than a refusal is looked for in."""
_FIRST_LOOK = 600
_MOST_CHARS = 8_000
_LOOP = 0.8
"""Share of word sequences seen before; an answer that is complete is in a loop from a half on."""
_JSON_STARTS = {"json_object": "{", "json_schema": '{["-0123456789tfn'}


class Early:
    """Reads one answer's text as it comes."""

    __slots__ = ("_next_look", "_starts", "_text")

    def __init__(self, response_format: Mapping[str, Any] | None) -> None:
        self._text = ""
        self._next_look = _FIRST_LOOK
        self._starts = _JSON_STARTS.get(str((response_format or {}).get("type")), "")

    def broken(self, more: str) -> str | None:
        """Take more text; returns why the answer is of no use, in the words of `AnswerSigns.broken`."""
        before = len(self._text)
        if not more or before > _MOST_CHARS:
            return None
        self._text += more
        if self._starts and (start := self._text.lstrip()[:1]) and start not in self._starts:
            return "form"
        # A word that is not complete may become another one.
        if before < _HEAD_CHARS and refuses(self._text.rpartition(" ")[0]):
            return "refused"
        if len(self._text) >= self._next_look:
            self._next_look = len(self._text) * 3 // 2
            if repetition(self._text) > _LOOP:
                return "looping"
        return None
