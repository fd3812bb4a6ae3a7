"""What the verifier reads of a pair: the tokens of both texts, and how each stands to the other text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semantic_cache.decision.base import Encoding
from semantic_cache.gates.alignment import align
from semantic_cache.gates.text import Text

FLAGS = 5
"""Content word with the same stem on the other side, with a synonym there, with neither; function word that
the other side has, that it has not."""
MAX_TOKENS = 192


@dataclass(frozen=True, slots=True)
class Side:
    """One text: unit token states [n, dim] without special tokens, and flags [n, FLAGS]."""

    states: NDArray[np.float32]
    flags: NDArray[np.float32]


def sides(a: Text, b: Text, encoding_a: Encoding, encoding_b: Encoding) -> tuple[Side, Side] | None:
    """Return both texts' tokens; None where the embedder gave none or cut the text off (the verifier
    abstains)."""
    aligned = align(a, b)
    exact_a = {a.content[i].begin for i, j in aligned.pairs if a.content[i].stem == b.content[j].stem}
    exact_b = {b.content[j].begin for i, j in aligned.pairs if a.content[i].stem == b.content[j].stem}
    left = _side(a, encoding_a, exact_a, {word.begin for word in aligned.only_a}, b)
    right = _side(b, encoding_b, exact_b, {word.begin for word in aligned.only_b}, a)
    return None if left is None or right is None else (left, right)


def _side(text: Text, encoding: Encoding, exact: set[int], lost: set[int], other: Text) -> Side | None:
    spans = encoding.spans
    real = spans[:, 1] > spans[:, 0]
    count = int(real.sum())
    if not count or count > MAX_TOKENS or not text.words:
        return None
    if spans[real, 1].max() < text.words[-1].begin:
        return None  # the embedder cut the end off: what is not seen can't be compared
    states = encoding.tokens[real].astype(np.float32)
    states /= np.linalg.norm(states, axis=1, keepdims=True) + 1e-6
    begins = np.fromiter((word.begin for word in text.words), np.int32, len(text.words))
    kinds = np.fromiter(
        (
            (0 if word.begin in exact else 2 if word.begin in lost else 1)
            if word.content
            else (3 if word.lower in other.lowers else 4)
            for word in text.words
        ),
        np.int32,
        len(text.words),
    )
    place = np.clip(np.searchsorted(begins, spans[real, 0], side="right") - 1, 0, len(begins) - 1)
    return Side(states, np.eye(FLAGS, dtype=np.float32)[kinds[place]])
