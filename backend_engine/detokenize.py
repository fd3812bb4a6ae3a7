"""Turns generated tokens into text as they come, without splitting a character or leaking a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence


class IncrementalDetokenizer:
    """Feeds one sequence's tokens in and gives out text that later tokens cannot change.

    Two things are held back: the bytes of an unfinished UTF-8 character, and a tail that may be the
    beginning of a stop string. The pieces given out add up to the decoded text, cut before the stop string.
    """

    def __init__(self, token_bytes: Callable[[int], bytes], stop: Sequence[str] = ()) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = tuple(stop)
        self._held = ""
        self.stopped = False
        """A stop string was found; nothing more will be given out."""
        self.num_chars = 0
        """Characters decoded so far, held and cut ones included."""
        self.num_given = 0
        """Characters given out so far."""

    def push(self, token_id: int, *, may_stop: bool = True) -> str:
        """Take one more token and return the text that became certain.

        `may_stop=False` (below `min_tokens`) lets stop strings through as ordinary text.
        """
        return self._take(self._decoder.decode(self._token_bytes(token_id)), may_stop=may_stop, final=False)

    def finish(self) -> str:
        """Return what was held back; an unfinished character becomes U+FFFD."""
        if self.stopped:
            return ""
        return self._take(self._decoder.decode(b"", final=True), may_stop=True, final=True)

    def _take(self, text: str, *, may_stop: bool, final: bool) -> str:
        self.num_chars += len(text)
        self._held += text
        cut = len(self._held)
        if self._stop and may_stop:
            found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
            if found:
                self.stopped = True
                cut = min(found)
            elif not final:
                cut -= self._undecided()
        given, self._held = self._held[:cut], self._held[cut:]
        self.num_given += len(given)
        return given

    def _undecided(self) -> int:
        """Return the length of the longest tail that begins a stop string."""
        longest = max(map(len, self._stop)) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stop):
                return size
        return 0
