"""What the calibration weighs beside the verifier's word: likeness, words without a counterpart, lengths."""

from __future__ import annotations

from math import log

from semantic_cache.gates.alignment import align
from semantic_cache.gates.negation import opposites
from semantic_cache.gates.text import Text, Word, passages

NAMES = ("verifier", "cosine", "overlap", "unmatched", "length", "turned", "passage")


def features(a: Text, b: Text, *, verifier: float, cosine: float) -> tuple[float, ...]:
    """Return the features of a pair, in the order of NAMES; symmetric in the two texts.

    overlap: share of content words with a counterpart, on the worse side; unmatched: weight of the others;
    length: log ratio of word counts; turned: pairs of opposites; passage: 1 for long texts.
    """
    aligned = align(a, b)
    most = max(len(a.content), len(b.content), 1)
    return (
        verifier,
        cosine,
        1 - max(len(aligned.only_a), len(aligned.only_b)) / most,
        sum(_weight(word) for word in (*aligned.only_a, *aligned.only_b)),
        abs(log(max(len(a.words), 1) / max(len(b.words), 1))),
        float(len(opposites(a, b))),
        float(passages(a, b)),
    )


def _weight(word: Word) -> float:
    """Long words and names are rare and say much; there is no corpus at hand to count them in."""
    return min(len(word.lower), 10) / 10 + (0.5 if word.capital and not word.first else 0.0)
