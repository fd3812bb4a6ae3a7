"""How much of an answer stands in what it was given: words, sequences of words, and numbers.

An answer that is read off a given text repeats it; one that wanders off brings words from nowhere. Nothing is
compared but words, so a text that is put in other words counts as not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from router.after.words import telling, words_of

_MOST = 400
"""Words of the answer that are looked at."""


def grounding_signs(prompt: str, answer: str) -> dict[str, float]:
    """Return signs by name, all shares between 0 and 1; {} for an answer without words."""
    said = words_of(answer)[:_MOST]
    if not said:
        return {}
    given = words_of(prompt)
    known = set(given)
    asked = set(telling(given))
    telling_said = telling(said)
    numbers = [word for word in said if word[0].isdigit()]
    return {
        "given_words": _share(telling_said, known),
        "given_pairs": _share(list(pairwise(said)), set(pairwise(given))),
        "given_numbers": _share(numbers, known) if numbers else 1.0,
        "has_numbers": float(bool(numbers)),
        "asked_again": len(asked & set(telling_said)) / max(1, len(asked)),
    }


def _share(items: Sequence[object], known: set[object] | set[str] | set[tuple[str, str]]) -> float:
    return sum(item in known for item in items) / max(1, len(items))
