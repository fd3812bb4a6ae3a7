"""The sets of `forebay bench cache`: pairs with a label and a group, and streams of questions with an
intent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any


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


def read(folder: Path, *, only: Sequence[str] = ()) -> Sets:
    """Read every set in a folder: pair sets have `a`, `b`, `same`; intent sets `text`, `intent`.

    Raises FileNotFoundError if there is none.
    """
    pairs: dict[str, list[LabelledPair]] = {}
    streams: dict[str, list[Asked]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        if only and path.name not in only:
            continue
        rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines() if line]
        if rows and {"a", "b", "same"} <= rows[0].keys():
            pairs[path.name] = [
                LabelledPair(row["a"], row["b"], bool(row["same"]), str(row.get("group", ""))) for row in rows
            ]
        elif rows and {"text", "intent"} <= rows[0].keys():
            streams[path.name] = [Asked(row["text"], row["intent"]) for row in rows]
    if not pairs and not streams:
        raise FileNotFoundError(f"no set of pairs or intents in {folder}")
    return Sets(pairs, streams)


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
