"""Whether two answers to two questions say the same: the label that exploration learns from.

A label that is wrong the generous way makes later hits wrong, so what is not plain has no label. Equal texts
are the same; texts that an embedder finds near are the same only if they hold the same numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import numpy as np
from numpy.typing import NDArray

SAME_FROM = 0.92
DIFFERENT_TO = 0.70
"""Cosine similarities of answers' vectors. In between lies what nobody could say by them."""
MAX_CHARS = 1000
"""As much of an answer as is embedded: about what an embedder of sentences takes in."""

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_WORDS = re.compile(r"[^\W_]+")


def normalised(answer: str) -> str:
    """Return the words of an answer: without case, marks, white space and markup."""
    return " ".join(_WORDS.findall(unicodedata.normalize("NFKC", answer).casefold()))


def say_the_same(
    one: str, other: str, one_vector: NDArray[np.float32], other_vector: NDArray[np.float32]
) -> bool | None:
    """Return the label of two answers with their vectors [dim] of unit length, or None if it is not plain."""
    if normalised(one) == normalised(other):
        return True
    similarity = float(one_vector @ other_vector)
    if similarity <= DIFFERENT_TO:
        return False
    whole = max(len(one), len(other)) <= MAX_CHARS
    if similarity >= SAME_FROM and whole and _numbers(one) == _numbers(other):
        return True
    return None


def _numbers(answer: str) -> Counter[str]:
    return Counter(_NUMBER.findall(answer))
