"""Which texts are worth remembering."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

from semantic_cache.gates.remembered import LONGEST, remembered
from semantic_cache.gates.text import parse


def test_short_ones_are_remembered_and_long_ones_are_not() -> None:
    asked: list[str] = []

    @remembered(2)
    def length(raw: str) -> int:
        asked.append(raw)
        return len(raw)

    long = "x" * (LONGEST + 1)
    assert [length(text) for text in ("a", "a", long, long)] == [1, 1, len(long), len(long)]
    assert asked == ["a", long, long]
    for text in ("b", "c", "a"):
        length(text)
    assert asked[3:] == ["b", "c", "a"]


@dataclass(eq=False)
class _Parsed:
    raw: str


def test_what_is_long_is_let_go() -> None:
    @remembered(8)
    def pair(one: _Parsed, other: _Parsed) -> int:
        return len(one.raw) + len(other.raw)

    kept, gone = _Parsed("a"), _Parsed("x" * (LONGEST + 1))
    assert pair(kept, kept) == 2 and pair(kept, gone) == LONGEST + 2
    left = weakref.ref(gone)
    del gone
    gc.collect()
    assert left() is None


def test_a_text_is_taken_apart_once_and_a_long_one_each_time() -> None:
    question, answer = "what is a heron", "a heron is a bird " * 100
    assert parse(question) is parse(question)
    assert parse(answer) is not parse(answer) and parse(answer).flat == parse(answer).flat
