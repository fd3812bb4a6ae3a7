"""The words of a text, and how probable each was to the model that wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from router.after.logprobs import LOWEST, Token

# A word may hold marks between its letters: don't, 14:20, 3.5, SN-4903.
_WORD = re.compile(r"\w+(?:[-'\u2019.:,/]\w+)*")
_HOLD_TOGETHER = """
a an and are as at be been but by can could did do does for from had has have he her his how i if in is it its
me my not of on one or our she so than that the their them there these they this those to was we were what
when where which who whom whose why will with would you your
"""
_COMMON = frozenset(_HOLD_TOGETHER.split())
"""Words that hold a sentence together: every answer has them, and they tell nothing of what it says."""
# The end of a sentence, or of a line; a dot within a number or an abbreviation is followed by no space.
_END = re.compile(r"[.!?](?=\s)|\n")

_MOST_TOKENS = 80


@dataclass(frozen=True, slots=True)
class Word:
    """One word of an answer, in lower case."""

    text: str
    logprob: float
    """Of all its tokens together, with what stands beside the word in them."""


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return _WORD.findall(text.lower())


def telling(words: Sequence[str]) -> list[str]:
    """Return the words that say something."""
    return [word for word in words if word not in _COMMON]


def is_telling(word: str) -> bool:
    """Return whether a word says something."""
    return word not in _COMMON


def first_sentence(tokens: Sequence[Token]) -> list[Word]:
    """Return the words of an answer up to the end of its first sentence or line, or its 80th token; [] if its
    tokens have no text."""
    tokens = tokens[:_MOST_TOKENS]
    written = "".join([token.text for token in tokens])
    begun = len(written) - len(written.lstrip())
    end = _END.search(written, begun)
    stop = len(written) if end is None else end.start()
    found: list[Word] = []
    number = 0
    reached = 0  # Where the token `number` begins.
    for match in _WORD.finditer(written, begun, stop):
        start, until = match.span()
        while reached + len(tokens[number].text) <= start:
            reached += len(tokens[number].text)
            number += 1
        total, at, place = 0.0, reached, number
        while place < len(tokens) and at < until:
            total += max(LOWEST, tokens[place].logprob)
            at += len(tokens[place].text)
            place += 1
        found.append(Word(match[0].lower(), total))
    return found
