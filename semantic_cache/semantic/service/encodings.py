"""Encodings of stored questions that were candidates lately: the index keeps less than the verifier needs."""

from __future__ import annotations

from collections import OrderedDict

from semantic_cache.embed.base import Encoding

CAPACITY_BYTES = 64 * 1024 * 1024


class Encodings:
    """A bounded memory by text; the one used longest ago makes room."""

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._capacity = self._left = capacity_bytes
        self._encodings: OrderedDict[str, Encoding] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """What they take, about."""
        return self._capacity - self._left

    def get(self, text: str) -> Encoding | None:
        """Return a text's encoding, if it is remembered."""
        encoding = self._encodings.get(text)
        if encoding is not None:
            self._encodings.move_to_end(text)
        return encoding

    def put(self, text: str, encoding: Encoding) -> None:
        """Remember an encoding."""
        if text in self._encodings:
            return
        self._encodings[text] = encoding
        self._left -= _size(text, encoding)
        while self._left < 0 and self._encodings:
            oldest, forgotten = self._encodings.popitem(last=False)
            self._left += _size(oldest, forgotten)


def _size(text: str, encoding: Encoding) -> int:
    return 200 + len(text) + encoding.vector.nbytes + encoding.tokens.nbytes + encoding.spans.nbytes


def was_cut(text: str, encoding: Encoding) -> bool:
    """Return whether the embedder has left out the end of the text."""
    if not len(encoding.spans):
        return False
    return int(encoding.spans[:, 1].max()) < len(text.rstrip())
