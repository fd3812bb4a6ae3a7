"""A scorer that depends on nothing but its texts: a nat for each letter of a word, half if it came before."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.compression.perplexity.nll import Token


async def letters(texts: Sequence[str]) -> list[list[Token]]:
    """Return a token for each word."""
    out = []
    for text in texts:
        seen: set[str] = set()
        tokens = []
        for found in re.finditer(r"\S+\s*", text):
            word = re.sub(r"\W", "", found[0])
            tokens.append(Token(found.start(), found.end(), len(word) * (0.5 if word in seen else 1.0)))
            seen.add(word)
        out.append(tokens)
    return out
