"""Drives a guide without a model."""

from __future__ import annotations

import random

import numpy as np

from backend_engine.structured.guide import Guide, Mask
from backend_engine.tokenizer import Tokenizer


def allowed_ids(mask: Mask) -> list[int]:
    """Return the tokens of one mask [words]."""
    found: list[int] = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()
    return found


def write_at_random(guide: Guide, max_tokens: int, chance: random.Random) -> list[int]:
    """Draw uniformly from what is allowed until the grammar or the limit ends the text."""
    out: list[int] = []
    while len(out) < max_tokens and not guide.is_complete:
        token = chance.choice(allowed_ids(guide.mask()))
        out.append(guide.choose(token, max_tokens - len(out)))
    return out


def text_of(tokenizer: Tokenizer, tokens: list[int]) -> str:
    """Return the text; raises UnicodeDecodeError if it ends within a character."""
    return b"".join(map(tokenizer.token_bytes, tokens)).decode()
