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


_FLAGS = np.eye(FLAGS, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the verifier needs of one text, whatever it is compared with."""

    text: Text
    states: NDArray[np.float32]
    """[n, dim] unit token states, without special tokens."""
    places: NDArray[np.intp]
    """[n]: which word of the text each token belongs to."""


@dataclass(frozen=True, slots=True)
class Side:
    """One text of a pair: unit token states [n, dim], and flags [n, FLAGS]."""

    states: NDArray[np.float32]
    flags: NDArray[np.float32]


def read(text: Text, encoding: Encoding) -> Reading | None:
    """Return a text's tokens; None where the embedder gave none or cut the text off."""
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
    places = np.clip(np.searchsorted(begins, spans[real, 0], side="right") - 1, 0, len(begins) - 1)
    return Reading(text, states, places)


def sides(a: Text, b: Text, encoding_a: Encoding, encoding_b: Encoding) -> tuple[Side, Side] | None:
    """Return both texts' tokens as the verifier compares them; None where it abstains."""
    left, right = read(a, encoding_a), read(b, encoding_b)
    return None if left is None or right is None else facing(left, right)


def facing(a: Reading, b: Reading) -> tuple[Side, Side]:
    """Return both texts' tokens with how each of their words stands to the other text."""
    one, other = a.text, b.text
    aligned = align(one, other)
    exact = [(i, j) for i, j in aligned.pairs if one.content[i].stem == other.content[j].stem]
    left = _flags(a, {one.content[i].begin for i, _ in exact}, {word.begin for word in aligned.only_a}, other)
    right = _flags(
        b, {other.content[j].begin for _, j in exact}, {word.begin for word in aligned.only_b}, one
    )
    return Side(a.states, left), Side(b.states, right)


def _flags(reading: Reading, exact: set[int], lost: set[int], other: Text) -> NDArray[np.float32]:
    # Words may share a place ("can't" is two); those of the content are told by identity.
    content = set(map(id, reading.text.content))
    kinds = [
        (0 if word.begin in exact else 2 if word.begin in lost else 1)
        if id(word) in content
        else (3 if word.lower in other.lowers else 4)
        for word in reading.text.words
    ]
    flags: NDArray[np.float32] = _FLAGS[np.array(kinds)[reading.places]]
    return flags
