"""The questions of the cache over HTTP: what is stored, what is asked, and whose answer is right for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from benchmarks._cache_data import Sets
from benchmarks._made_questions import question_pairs
from benchmarks.peers import mock_answers
from semantic_cache.semantic.question import Rules, is_time_bound

_MADE = 20_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much is stored, and how often each kind of request is sent."""

    entries: int = 10_000
    asked: int = 600
    misses: int = 300
    repeats: int = 400


QUICK = Size(entries=1_000, asked=120, misses=60, repeats=80)


class BadRun(Exception):
    """An answer was not the one that was due, or the mock saw other requests than it should have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is stored, what is asked in other words, what is new, and whose answer is right for what."""

    table: mock_answers.Table
    stored: list[str]
    reworded: list[str]
    new: list[str]


def plan(sets: Sets, size: Size) -> Plan:
    """Choose the questions: the pairs' first wordings and questions of the streams are stored.

    What the streams lack to fill the scope is made up. Questions that the tier leaves out, being long or
    about today, are left out here too.
    """
    chance = Random(11)
    pairs = [pair for part in sets.pairs.values() for pair in part if pair.same]
    if not pairs:
        raise BadRun("there is no pair of questions that mean the same, so nothing can be a semantic hit")
    groups = _Groups()
    for pair in pairs:
        groups.join(pair.a, pair.b)
    different = [pair for part in sets.pairs.values() for pair in part if not pair.same]
    stored = [text for text in dict.fromkeys(pair.a for pair in (*pairs, *different)) if _fit(text)]
    taken = set(stored)
    reworded = [text for text in dict.fromkeys(pair.b for pair in pairs) if text not in taken and _fit(text)]
    intents = {asked.text: asked.intent for part in sets.streams.values() for asked in part}
    others = [text for text in intents if text not in taken and text not in set(reworded)]
    chance.shuffle(others)
    others = [
        text for text in (*others, *(first for first, _ in question_pairs(_MADE, seed=3))) if _fit(text)
    ]
    stored = (stored + others)[: size.entries]
    new = others[len(stored) : len(stored) + 4 * size.misses]
    chance.shuffle(reworded)
    reworded = reworded[: size.asked]
    numbers: dict[str, int] = {}
    questions = {}
    for text in dict.fromkeys((*stored, *reworded, *new)):
        intent = intents.get(text, "oos")
        questions[text] = numbers.setdefault(groups.of(text) if intent == "oos" else intent, len(numbers))
    made = others or stored
    answers = [_answer(name, made) for name in numbers]
    return Plan(mock_answers.Table(questions, answers), stored, reworded, new)


def _fit(text: str) -> bool:
    return len(text) <= Rules().max_chars and not is_time_bound(text)


def _answer(name: str, texts: Sequence[str]) -> str:
    """Return some sentences that nothing else is answered by."""
    chance = Random(hashlib.sha256(name.encode()).digest())
    return "This is how it is. " + " ".join(chance.choice(texts) for _ in range(5))


class _Groups:
    """Questions that mean the same, by what is written of pairs."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def of(self, text: str) -> str:
        while (parent := self._parents.get(text, text)) != text:
            text = parent
        return text

    def join(self, one: str, other: str) -> None:
        self._parents[self.of(one)] = self.of(other)
