"""Which words of a passage can go: small ones that a language model could have guessed.

Only a few words that carry little but grammar may go at all, and each is kept or goes whole. They stay where
a sign is attached to them, within names ("Art of War"), behind numbers, in quotation marks and in brackets.
The limit is absolute and a passage is judged by itself, so no decision depends on what comes later.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gateway.compression.parts import Passage
from gateway.compression.perplexity.nll import Token, of_spans

MOST_LOSS = 3.0
"""Nats from which a word stays."""
TOLD = 1.0
"""Weight of what the question tells of a word, beside what the passage does."""
MARK = "[abridged] "
_REACH = 3
"""Words from one capital or number to the next that still are one name."""
_WORD = re.compile(r"\S+")
_CLOSED = re.compile(
    r"\"[^\"]*(?:\"|\Z)|“[^”]*(?:”|\Z)|‘[^’]*(?:’|\Z)|«[^»]*(?:»|\Z)|`[^`]*(?:`|\Z)|"
    r"\([^)]*(?:\)|\Z)|\[[^\]]*(?:\]|\Z)|\{[^}]*(?:\}|\Z)|<[^>]*(?:>|\Z)"
)
_SMALL_WORDS = """
a an the of is are was were be been being has have had it its this that these those there their his her
which who very then so such also
"""
_SMALL = frozenset(_SMALL_WORDS.split())
"""What telegrams went without; nothing that says who did what to whom, when, where or not at all."""


def words(units: Sequence[str]) -> list[tuple[int, int]]:
    """Return the spans of the words in sentences that stand one behind the other."""
    spans: list[tuple[int, int]] = []
    start = 0
    for unit in units:
        spans += [(start + found.start(), start + found.end()) for found in _WORD.finditer(unit)]
        start += len(unit)
    return spans


def may_go(units: Sequence[str]) -> list[bool]:
    """Return of each word of prose whether it may go at all; a sentence keeps its last one."""
    out: list[bool] = []
    for unit in units:
        found = list(_WORD.finditer(unit))
        closed = [closing.span() for closing in _CLOSED.finditer(unit)]
        named = _within_names([word[0] for word in found])
        free = [
            word[0] in _SMALL
            and place not in named
            and not any(start < word.end() and word.start() < end for start, end in closed)
            for place, word in enumerate(found)
        ]
        out += [*free[:-1], *([False] if free else [])]
    return out


def _within_names(found: Sequence[str]) -> set[int]:
    """Return the places of words that belong to a name or a number: "Art of War", "3 million acres"."""
    inside: set[int] = set()
    last = -_REACH
    for place, word in enumerate(found):
        if any(map(str.isdigit, word)):
            inside.update(range(place + 1, place + _REACH))
        if word[:1].isupper() or any(map(str.isdigit, word)):
            if place - last <= _REACH:
                inside.update(range(last + 1, place))
            # A sign behind a word ends the name.
            last = place if word[-1:].isalnum() else -_REACH
    return inside


def surprise(tokens: Sequence[Token], prompt: str, spans: Sequence[tuple[int, int]]) -> list[float]:
    """Return how surprising each word of a prompt is: the sum over its tokens, in nats."""
    return [sum(nlls) for nlls in of_spans(tokens, prompt, spans)]


def losses(
    free: Sequence[bool], alone: Sequence[float], asked: Sequence[float], told: float = TOLD
) -> list[float]:
    """Return what goes with each word, in nats; infinite for one that has to stay.

    alone: each word's NLL within its passage; asked: the same with the question before it. Their difference,
    if it is one, says that the word has to do with the question.
    """
    return [
        one + told * max(0.0, one - other) if may else math.inf
        for may, one, other in zip(free, alone, asked, strict=True)
    ]


def abridged(
    passage: Passage, units: Sequence[int], loss: Sequence[float], excess: int, most: float = MOST_LOSS
) -> Passage | None:
    """Return a passage of which these units have lost words, the least loss first, so that it has `excess`
    characters less, its mark included; None if the words that may go are not enough."""
    place = 0
    found: list[tuple[float, int, int, int]] = []
    for unit in units:
        spans = [word.span() for word in _WORD.finditer(passage.units[unit])]
        ends = [*(start for start, _ in spans[1:]), len(passage.units[unit])]
        for (start, _), end in zip(spans, ends, strict=True):
            found.append((loss[place], unit, start, end))
            place += 1
    left = excess + len(MARK)
    gone: list[tuple[int, int, int]] = []
    for value, unit, start, end in sorted(found):
        if left <= 0:
            break
        if value >= most:
            return None
        gone.append((unit, start, end))
        left -= end - start
    if left > 0:
        return None
    texts = list(passage.units)
    for unit, start, end in sorted(gone, reverse=True):
        texts[unit] = texts[unit][:start] + texts[unit][end:]
    texts[units[0]] = MARK + texts[units[0]]
    return Passage(passage.lead, texts, prose=True)
