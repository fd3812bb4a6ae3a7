"""A training pair, and the two ways to put words in place of others: by a synonym, or by something else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from semantic_cache.gates.antonyms import OPPOSITES
from semantic_cache.gates.synonyms import GROUPS, words_of
from semantic_cache.gates.text import stem

_WORD = re.compile(r"[A-Za-z]{3,}")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two questions, whether an answer to one is an answer to the other, and how the pair was made."""

    a: str
    b: str
    same: bool
    kind: str


def reword(random: Random, text: str, share: float) -> str:
    """Put synonyms in place of about `share` of the words that have some; forms are kept as they come."""

    def other(match: re.Match[str]) -> str:
        word = match.group()
        groups = GROUPS.get(word.lower())
        if not groups or len(groups) > 2 or random.random() > share or word[0].isupper():
            return word
        choices = [w for group in groups for w in words_of(group) if w != word.lower() and "-" not in w]
        return random.choice(choices) if choices else word

    return _WORD.sub(other, text)


def unlike(random: Random, word: str, choices: list[str]) -> str:
    """Return a word from `choices` that is neither the word, nor a synonym, nor its opposite."""
    mine = GROUPS.get(stem(word), frozenset())
    for _ in range(20):
        other = random.choice(choices)
        if stem(other) != stem(word) and mine.isdisjoint(GROUPS.get(stem(other), ())):
            return other
    return random.choice(sorted(OPPOSITES))
