"""BM25 (Robertson and Zaragoza 2009) over the parts of one text; 1 is a part of usual length with every word.

Only the text itself gives the frequencies, so a part's score never depends on anything that comes later.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:[-.:/@][^\W_]+)*")
_PIECE = re.compile(r"[^\W_]+")
_K1, _B = 1.2, 0.6
_STOP_WORDS = """
a an and are as at be been by can could did do does for from had has have he her his how i if in
into is it its me my of on or our she should so than that the their them then there these they this
those to was we were what when where which who whom whose why will with would you your about also
according answer question please tell give find get many much
"""
_STOP = frozenset(_STOP_WORDS.split())


def terms(text: str) -> list[str]:
    """Return what is compared of a text: lower-case words without endings; ids whole and in pieces."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        pieces = _PIECE.findall(word)
        if len(pieces) > 1:
            found.append(word)
        found += [_stem(piece) for piece in pieces if piece not in _STOP]
    return found


def _stem(word: str) -> str:
    if len(word) <= 4 or not word.isalpha():
        return word[:-1] if len(word) == 4 and word.endswith("s") and word.isalpha() else word
    for ending, least in (
        ("ation", 8),
        ("ing", 6),
        ("ies", 5),
        ("ied", 5),
        ("ed", 5),
        ("es", 6),
        ("ly", 6),
        ("s", 5),
    ):
        if word.endswith(ending) and len(word) >= least:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 4 and word[-1] in "ey" else word


def scores(question: str, texts: Sequence[str]) -> list[float]:
    """Return for each text how much of the question's weight it matches, from 0 to 1 and somewhat more."""
    # In the order of the question: sums over a set would differ in their last bits from process to process.
    asked = list(dict.fromkeys(terms(question)))
    if not asked or not texts:
        return [0.0] * len(texts)
    wanted = frozenset(asked)
    bags: list[Counter[str]] = []
    lengths: list[int] = []
    for text in texts:
        words = terms(text)
        # Only what is asked for is kept: the texts may be parts of one of many megabytes.
        bags.append(Counter(word for word in words if word in wanted))
        lengths.append(len(words))
    count = len(bags)
    found_in = {term: sum(term in bag for bag in bags) for term in asked}
    weight = {term: math.log1p((count - n + 0.5) / (n + 0.5)) for term, n in found_in.items()}
    # Words that no text has would make every match look poor.
    best = sum(weight[term] for term in asked if found_in[term])
    if best == 0:
        return [0.0] * len(texts)
    usual = sum(lengths) / count or 1.0
    return [
        sum(
            weight[term] * bag[term] * (_K1 + 1) / (bag[term] + _K1 * (1 - _B + _B * length / usual))
            for term in asked
            if term in bag
        )
        / best
        for bag, length in zip(bags, lengths, strict=True)
    ]
