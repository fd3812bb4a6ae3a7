"""How much of an answer stands in the text that its question is about: words, their order, and numbers.

An answer that is read off a given text repeats it; one that wanders off brings words from nowhere. Nothing is
compared but words, so what is put in other words counts as not given. A prompt gives a text if it has several
lines: to a bare question, an answer is new by nature.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from router.after.words import telling, words_of

_LONGEST = 1_200
"""Characters of the answer that are looked at."""
_LEAST = 12
"""Words that make a text to answer from."""


def grounding_signs(prompt: str, answer: str) -> dict[str, float]:
    """Return shares between 0 and 1 by name; {} if no text is given, or the answer has no words."""
    if "\n" not in prompt.strip():
        return {}
    given = words_of(prompt)
    said = words_of(answer[:_LONGEST])
    if len(given) < _LEAST or not said:
        return {}
    known = set(given)
    signs = {
        "given_words": _share(telling(said), known),
        "given_pairs": _share(list(pairwise(said)), set(pairwise(given))),
    }
    numbers = [word for word in said if word[0].isdigit()]
    if numbers:
        signs["given_numbers"] = _share(numbers, known)
    return signs


def _share(items: Collection[object], known: Collection[object]) -> float:
    return sum(item in known for item in items) / max(1, len(items))
