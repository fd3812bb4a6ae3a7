"""What is to be believed of a note that a model wrote on a part of a text.

A tiny model always writes something, and likes to repeat the question with a number from anywhere: "The
password is 12". So each sentence must be borne out by one place of the part, or by all of it if it says much.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.compression import bm25
from gateway.compression.parts import sentences
from gateway.window.grounding import Source

LEAST_SUPPORT = 0.6
"""Share of a sentence's own words, those that are not the question's, that must stand in one place."""
MANY_WORDS = 4
"""With so many own words it hardly stands there by chance."""
LEAST_ECHO = 0.5
"""With fewer, this share of the words that it has of the question must stand there too, or the place must be
one that fits the question."""
LEAST_SCATTERED = 0.8
"""Share of many own words that must stand somewhere in the part, if they stand in no one place."""
_NOTHING = re.compile(r"^\W*NOTHING\b|^\W*nothing\W*$")


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of the text."""

    number: int
    says: Source
    fits: bool
    """It is likely to have to do with the question."""


def borne_out(answer: str, question: str, part: str, places: Sequence[Place]) -> tuple[str, list[int]]:
    """Return the sentences of a note that its part bears out, and the numbers of the places that do."""
    answer = " ".join(answer.split())
    if _NOTHING.match(answer):
        return "", []
    asked, whole = Source(question), Source(part)
    kept: list[str] = []
    bearing: set[int] = set()
    for sentence in sentences(answer):
        if found := _bearing(sentence, asked, whole, places):
            kept.append(sentence)
            bearing |= found
    return "".join(kept).strip(), sorted(bearing)


def _bearing(sentence: str, asked: Source, whole: Source, places: Sequence[Place]) -> set[int]:
    words = list(dict.fromkeys(bm25.terms(sentence)))
    own = [word for word in words if word not in asked.terms]
    echo = [word for word in words if word in asked.terms]
    if not own or not whole.has_atoms_of(sentence, besides=asked):
        return set()
    many = len(own) >= MANY_WORDS
    by_support = sorted(places, key=lambda place: (-_share(own, place.says), -_share(echo, place.says)))
    for place in by_support:
        if _share(own, place.says) < LEAST_SUPPORT:
            break
        likely = many or place.fits or _share(echo, place.says) >= LEAST_ECHO
        if likely and place.says.has_atoms_of(sentence, besides=asked):
            return {place.number}
    if many and _share(own, whole) >= LEAST_SCATTERED:
        return {place.number for place in by_support[:2]}
    return set()


def _share(words: Sequence[str], source: Source) -> float:
    return sum(word in source.terms for word in words) / len(words) if words else 1.0
