"""The raw bytes behind a vocabulary's spelling of a token."""

from __future__ import annotations

import re
from collections.abc import Callable

from backend_engine.tokenizer.byte_alphabet import CHAR_TO_BYTE

PieceBytes = Callable[[str], bytes]

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_level_bytes(piece: str) -> bytes:
    """Return the bytes of a byte-level BPE token such as `Ġhello`."""
    try:
        return bytes([CHAR_TO_BYTE[char] for char in piece])
    except KeyError:  # an added token, which is spelled literally
        return piece.encode()


def sentencepiece_bytes(piece: str) -> bytes:
    """Return the bytes of a SentencePiece token such as `▁hello` or `<0xE2>`."""
    if match := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(match[1], 16)])
    return piece.replace("▁", " ").encode()
