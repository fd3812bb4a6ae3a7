"""Premises: nothing that carries meaning stands on one side only, and both ask for the same kind of thing."""

from __future__ import annotations

import re

from semantic_cache.gates.alignment import align
from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.categories import exclusive
from semantic_cache.gates.entities import names
from semantic_cache.gates.negation import opposites
from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.text import Text, Word, passages
from semantic_cache.gates.words import words_in

NAME = "premises"
SUBSTITUTED = 0.34
"""Largest share of a plain question's words that may be put in other words, for the verifier to judge."""
COVERED = 0.45
"""Smallest share of a passage's words that must be found in the other."""
VERBATIM = 0.25
"""A passage that is another's to the letter but for a place was edited there, and that is a changed premise;
whoever says a thing in other words changes them throughout. Share of runs of four words that both have."""
_ASKED = {
    "when": re.compile(
        r" (when (?:is|are|was|were|do|does|did|will|can|should|would)|what (?:time|date|day|year)) "
    ),
    "where": re.compile(r" (where|which (?:place|country|city)|what (?:place|location|country|city)) "),
    "who": re.compile(
        # Not the relative pronoun of "a person who sings".
        r"^ (?:who|whom|whose) | (?:know|tell|me|wonder|out|and|or) (?:who|whom|whose) | which person "
    ),
    "duration": re.compile(
        r" (how long|how much time|duration|how many (?:hours|minutes|days|weeks|months|years)) "
    ),
    "often": re.compile(r" (how often|how frequently|how many times) "),
    "age": re.compile(r" (how old|what age|age of) "),
    "far": re.compile(r" (how far|distance) "),
}
_ASKING = re.compile(r" (what|which|who|whom|whose|when|where|why|how) ")
_YES_NO = frozenset(
    words_in("is are was were do does did can could will would should has have had may might must am")
)


def premises(a: Text, b: Text) -> GateVerdict:
    """Refuse if one text holds meaningful words with no counterpart, or asks for another kind of thing."""
    if odd := _asked(a, b):
        return GateVerdict(NAME, False, odd)
    aligned = align(a, b)
    turned = opposites(a, b)
    left, right = {one for one, _ in turned}, {other for _, other in turned}
    # Opposites on either side are accounted for: the negation gate has found a turn for each.
    only_a = tuple(word for word in aligned.only_a if word.lower not in left)
    only_b = tuple(word for word in aligned.only_b if word.lower not in right)
    for word in only_a:
        for other in only_b:
            if exclusive(word.stem, other.stem):
                return GateVerdict(NAME, False, f"{word.lower}/{other.lower}")
    verdict = _passage if passages(a, b) else _question
    return verdict(a, b, only_a, only_b)


def _asked(a: Text, b: Text) -> str:
    if passages(a, b):
        return ""
    mine, other = _kinds(a), _kinds(b)
    if mine != other:
        return next(f"asks {kind}" for kind in _ASKED if (kind in mine) != (kind in other))
    return "yes or no" if _yes_no(a) != _yes_no(b) else ""


@remembered(4096)
def _kinds(text: Text) -> frozenset[str]:
    """Return what a question asks for, of the kinds that no other wording hides."""
    return frozenset(kind for kind, pattern in _ASKED.items() if pattern.search(text.flat))


@remembered(4096)
def _yes_no(text: Text) -> bool:
    first = next((word for word in text.words if not word.framed), None)
    return first is not None and first.lower in _YES_NO | {"i", "you", "we"} and not _ASKING.search(text.flat)


def _question(a: Text, b: Text, only_a: tuple[Word, ...], only_b: tuple[Word, ...]) -> GateVerdict:
    """Words on one side only are a premise; as many on either side may be another way to say it."""
    if abs(len(only_a) - len(only_b)) > 0 and (not only_a or not only_b):
        return GateVerdict(NAME, False, f"only one side has {(only_a or only_b)[0].lower}")
    # Names say whom it is about; of what is asked of them, most must be in the same words.
    most = max(*(sum(word.stem not in names(text) for word in text.content) for text in (a, b)), 1)
    if max(len(only_a), len(only_b)) > SUBSTITUTED * most:
        return GateVerdict(NAME, False, "too much is in other words")
    return GateVerdict(NAME, True)


def _passage(a: Text, b: Text, only_a: tuple[Word, ...], only_b: tuple[Word, ...]) -> GateVerdict:
    for text, only, other in ((a, only_a, b), (b, only_b, a)):
        if len(only) > (1 - COVERED) * len(text.content):
            return GateVerdict(NAME, False, "too much is in other words")
        if len(text.words) > 1.6 * len(other.words):
            return GateVerdict(NAME, False, "much longer")
    if (only_a or only_b) and _verbatim(a, b) > VERBATIM:
        return GateVerdict(NAME, False, f"edited: {(only_a or only_b)[0].lower}")
    return GateVerdict(NAME, True)


def _verbatim(a: Text, b: Text) -> float:
    runs = [
        {tuple(word.lower for word in text.words[at : at + 4]) for at in range(len(text.words) - 3)}
        for text in (a, b)
    ]
    return len(runs[0] & runs[1]) / max(1, min(map(len, runs)))
