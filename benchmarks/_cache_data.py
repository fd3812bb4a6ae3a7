"""The sets of `forebay bench cache`: pairs with a label and a kind, and streams of questions with an
intent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec


class BadData(Exception):
    """The data cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A stored question, a new one, and whether an answer to the first is one to the second."""

    a: str
    b: str
    same: bool
    group: str

    @property
    def unseen(self) -> bool:
        """The group is of the half whose texts were left unread (by its name's digest, so the choice is
        fixed)."""
        return bool(hashlib.sha256(self.group.encode()).digest()[0] & 1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a stream; `intent` is "oos" for one that nothing may answer."""

    text: str
    intent: str


@dataclass(frozen=True, slots=True)
class Sets:
    """What a folder holds, by file name."""

    pairs: dict[str, list[LabelledPair]]
    streams: dict[str, list[Asked]]


class _Pair(msgspec.Struct):
    a: str
    b: str
    same: bool | int
    group: str = ""


class _Question(msgspec.Struct):
    text: str
    intent: str


_PAIR = msgspec.json.Decoder(_Pair).decode
_QUESTION = msgspec.json.Decoder(_Question).decode
_ANYTHING = msgspec.json.Decoder().decode
T = TypeVar("T")


def read(folder: Path, *, only: Sequence[str] = ()) -> Sets:
    """Read every set in a folder: pairs have `a`, `b`, `same` (0 or 1), questions `text` and `intent`.

    Raises BadData.
    """
    if not folder.is_dir():
        raise BadData(f"{folder}: there is no such folder")
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f" (it has the folders {', '.join(inside)})" if inside else ""
        raise BadData(f"{folder}: there is no .jsonl file in it{hint}")
    names = [path.name for path in paths]
    if missing := [name for name in only if name not in names]:
        raise BadData(f"{folder}: there is no {', '.join(missing)} (there are: {', '.join(names)})")
    sets = Sets({}, {})
    for path in paths:
        if not only or path.name in only:
            _read(path, sets)
    return sets


def _read(path: Path, sets: Sets) -> None:
    try:
        lines = [
            (number, line) for number, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()
        ]
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}") from None
    if not lines:
        raise BadData(f"{path}: it is empty")
    first = _line(path, *lines[0], _ANYTHING)
    fields = first.keys() if isinstance(first, dict) else ()
    if {"a", "b"} <= set(fields):
        pairs = [(number, _line(path, number, line, _PAIR)) for number, line in lines]
        for number, pair in pairs:
            if pair.same not in (0, 1):
                raise BadData(f"{path}:{number}: `same` is {pair.same}, which is neither 0 nor 1")
            if not pair.a.strip() or not pair.b.strip():
                raise BadData(f"{path}:{number}: a question is empty")
        sets.pairs[path.name] = [LabelledPair(p.a, p.b, bool(p.same), p.group) for _, p in pairs]
    elif "text" in fields:
        asked = [(number, _line(path, number, line, _QUESTION)) for number, line in lines]
        for number, question in asked:
            if not question.text.strip():
                raise BadData(f"{path}:{number}: the question is empty")
        sets.streams[path.name] = [Asked(question.text, question.intent) for _, question in asked]
    else:
        raise BadData(
            f"{path}:{lines[0][0]}: neither a pair (fields a, b, same, group) nor a question (text, intent)"
        )


def _line(path: Path, number: int, line: bytes, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadData(f"{path}:{number}: {error}") from None


def some(sets: Sets, most: int) -> Sets:
    """Return at most `most` pairs of each set, evenly from all of it, and the streams as they are."""
    pairs = {name: part[:: max(1, -(-len(part) // most))] for name, part in sets.pairs.items()}
    return Sets(pairs, sets.streams)


def steady(asked: Sequence[Asked], count: int) -> list[Asked]:
    """Return `count` questions in an order that does not change from run to run."""
    return Random(7).sample(list(asked), min(count, len(asked)))


def drifting(asked: Sequence[Asked], count: int) -> list[Asked]:
    """Return a stream whose second half asks only for intents that the first half never had."""
    intents = sorted({question.intent for question in asked} - {"oos"})
    Random(5).shuffle(intents)
    early = set(intents[: len(intents) // 2])
    first = [question for question in asked if question.intent in early]
    second = [question for question in asked if question.intent not in early]
    return steady(first, count // 2) + steady(second, count // 2)
