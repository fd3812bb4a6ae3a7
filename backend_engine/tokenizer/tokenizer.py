"""One tokenizer for every vocabulary: Hugging Face's `tokenizers` does the splitting, we know the bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

import tokenizers

from backend_engine.tokenizer.pieces import PieceBytes

_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """Converts between text and token ids.

    Special tokens written in the text become their ids by default, because a rendered chat template
    needs that and the reference (`transformers`) does the same. It follows that a user whose message
    contains `<|im_end|>` can end the turn, here as there; `parse_special=False` encodes such text as
    ordinary characters, for text that no template has touched.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        piece_bytes: PieceBytes,
        *,
        bos_id: int | None,
        eos_ids: frozenset[int],
    ) -> None:
        """Wrap `backend`, whose pieces `piece_bytes` turns into raw bytes."""
        self._backend = backend
        self._piece_bytes = piece_bytes
        self._bytes: dict[int, bytes] = {}
        self._added = {
            token_id: token.content for token_id, token in backend.get_added_tokens_decoder().items()
        }
        self._special = frozenset(
            token_id for token_id, token in backend.get_added_tokens_decoder().items() if token.special
        )
        self.bos_id = bos_id
        self.eos_ids = eos_ids
        self.vocab_size = max(
            backend.get_vocab_size(with_added_tokens=True), max(self._added, default=-1) + 1
        )

    def encode(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """Return the ids of `text`; `add_special` puts BOS (or what the model wants) around them.

        Lone surrogates, which no UTF-8 text has, become U+FFFD.
        """
        backend = self._backend if parse_special else self._literal_backend
        text = _SURROGATE.sub("\ufffd", text)
        return backend.encode(text, add_special_tokens=add_special).ids

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Return the text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return self._backend.decode(list(ids), skip_special_tokens=skip_special)

    def token_bytes(self, token_id: int) -> bytes:
        """Return what this token adds to the text: b"" for special tokens and ids beyond the vocabulary.

        Concatenating these gives the text; a character may be spread over several tokens.
        """
        found = self._bytes.get(token_id)
        if found is None:
            found = self._bytes[token_id] = self._compute_bytes(token_id)
        return found

    def token_text(self, token_id: int) -> str:
        """Return a readable form of one token, for log-probabilities: special tokens by their names."""
        if token_id in self._special:
            return self._added[token_id]
        return self.token_bytes(token_id).decode(errors="replace")

    def is_special(self, token_id: int) -> bool:
        """Tell whether this is a control token, which never shows in the text."""
        return token_id in self._special

    def _compute_bytes(self, token_id: int) -> bytes:
        if token_id in self._special or token_id < 0:
            return b""
        if token_id in self._added:
            return self._added[token_id].encode()
        piece = self._backend.id_to_token(token_id)
        return b"" if piece is None else self._piece_bytes(piece)

    @cached_property
    def _literal_backend(self) -> tokenizers.Tokenizer:
        # A copy, because the switch is a property of the whole backend and calls come from several threads.
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        backend.encode_special_tokens = True
        return backend
