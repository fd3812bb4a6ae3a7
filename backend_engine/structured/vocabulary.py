"""A model's tokens as the grammar library sees them, and the order in which they bring a text to its end."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from llguidance import LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from backend_engine.tokenizer import Tokenizer


class Vocabulary:
    """The tokens of one model; made once, shared by all grammars."""

    def __init__(self, tokenizer: Tokenizer, *, vocab_size: int, end_ids: Iterable[int]) -> None:
        """`vocab_size` is the width of the model's logits; `end_ids` end an answer where a grammar allows it.

        Raises ValueError if `end_ids` is empty: no grammar could ever end.
        """
        self.size = vocab_size
        self.end_ids = tuple(sorted(end_ids))
        if not self.end_ids:
            raise ValueError("a vocabulary without an end token cannot end a grammar")
        self.token_bytes = [tokenizer.token_bytes(token) for token in range(vocab_size)]
        self.backend = LLTokenizer(
            TokenizerWrapper(_Source(tokenizer, self.token_bytes, self.end_ids[0])),
            n_vocab=vocab_size,
            eos_token=list(self.end_ids),
        )

    @property
    def num_mask_words(self) -> int:
        """Length of a token mask in 32-bit words."""
        return -(-self.size // 32)

    @cached_property
    def closing_orders(self) -> NDArray[np.int32]:
        """Rank of every token for ending a JSON text soon, lowest first: int32 [2, vocab].

        Row OUTSIDE_STRING takes what closes, then punctuation between values, then anything long but brackets
        that open. Row INSIDE_STRING takes the closing quote, then an @ (only a pattern
        lets it come so far), then anything long.
        """
        kinds = np.array([_kind(piece) for piece in self.token_bytes])
        inside = np.select([kinds == kind for kind in (_QUOTES, _AT, _NEVER)], [_AT, _QUOTES, _NEVER], _OTHER)
        lengths = np.array([len(piece) for piece in self.token_bytes])
        orders = np.empty((2, self.size), dtype=np.int32)
        for row, kind in ((OUTSIDE_STRING, kinds), (INSIDE_STRING, inside)):
            orders[row, np.lexsort((-lengths, kind))] = np.arange(self.size)
        return orders

    @cached_property
    def is_single_letter(self) -> NDArray[np.bool_]:
        """Tokens of one byte that is no JSON punctuation: bool [vocab]."""
        return np.array([len(piece) == 1 and _kind(piece) == _OTHER for piece in self.token_bytes])

    @cached_property
    def bracket_ids(self) -> tuple[int, int]:
        """The tokens `}` and `]`, which no place outside a string allows at once; -1 for one there is not."""
        found = [self.token_bytes.index(piece) if piece in self.token_bytes else -1 for piece in (b"}", b"]")]
        return found[0], found[1]


OUTSIDE_STRING, INSIDE_STRING = 0, 1
_AT, _CLOSES, _QUOTES, _SEPARATES, _OTHER, _OPENS, _NEVER = range(7)


def _kind(piece: bytes) -> int:
    if not piece:
        return _NEVER
    if piece == b"@":  # stands only in strings, and where greed reaches it a pattern asks for it
        return _AT
    if piece in (b"[]", b"{}", b'""') or not piece.strip(b"}]"):
        return _CLOSES
    if piece[:1] == b'"' and not piece[1:].strip(b"}]"):
        return _QUOTES
    if any(byte in b"{[" for byte in piece):
        return _OPENS
    return _SEPARATES if piece == b"." or not piece.strip(b',: "') else _OTHER


class _Source:
    """What the library asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes], end_id: int) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = end_id
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = [token for token in range(len(tokens)) if tokenizer.is_special(token)]
        # Special tokens need a name, for the library would take an empty one for a token of the text.
        self.tokens = [
            tokenizer.token_text(token).encode() if tokenizer.is_special(token) else piece
            for token, piece in enumerate(tokens)
        ]

    def __call__(self, text: bytes | str) -> list[int]:
        text = text.decode(errors="replace") if isinstance(text, bytes) else text
        return self._tokenizer.encode(text, parse_special=False)
