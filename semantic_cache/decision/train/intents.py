"""Pairs from real questions with intents (BANKING77, CC BY 4.0; CLINC150, CC BY 3.0): as they are, or
changed.

Different: near neighbours of two intents, and a question with a word put in place of another, dropped or
negated. Same: neighbours of one intent that every gate lets through, and questions reworded. Labels of the
first kind are rough, so they are a small share.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from semantic_cache.decision.train.pairs import Pair, reword, unlike
from semantic_cache.gates.checks import check
from semantic_cache.gates.text import parse
from semantic_cache.gates.words import words_in

FILES = ("banking77.jsonl", "clinc150.jsonl")
_FRAMES = (
    "can you tell me {}",
    "please {}",
    "i was wondering, {}",
    "hi, {}",
    "{} please",
    "hello! {}",
    "{} thanks",
)
_ADDED = words_in("""small old Italian second monthly wooden former blue electric senior cheap double
foreign temporary joint annual digital student northern broken""")


def read(folder: Path) -> tuple[list[str], list[str]]:
    """Return the texts and their intents; Raises FileNotFoundError if a file is missing."""
    rows = [json.loads(line) for name in FILES for line in (folder / name).read_text().splitlines()]
    return [row["text"] for row in rows], [row["intent"] for row in rows]


def near(
    random: Random, texts: Sequence[str], intents: Sequence[str], vectors: NDArray[np.float32], count: int
) -> list[Pair]:
    """Pair questions with near neighbours: of other intents, or of their own where no gate objects."""
    out: list[Pair] = []
    order = random.sample(range(len(texts)), min(len(texts), count * 3))
    for row in order:
        if len(out) >= count:
            break
        alike = vectors @ vectors[row]
        alike[row] = -1
        for other in np.argpartition(-alike, 12)[:12]:
            cosine = float(alike[other])
            same = intents[row] == intents[int(other)] != "oos"
            if not same and cosine > 0.7:
                out.append(Pair(texts[row], texts[int(other)], False, "neighbour other intent"))
                break
            if same and cosine > 0.86 and check(texts[row], texts[int(other)])[-1].passed:
                out.append(Pair(texts[row], texts[int(other)], True, "neighbour same intent"))
                break
    return out


def changed(random: Random, texts: Sequence[str], count: int) -> list[Pair]:
    """Change one thing in real questions; a word is replaced by one seen after the same word elsewhere."""
    after: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        words = parse(text).words
        for left, right in pairwise(words):
            if right.content:
                after[left.lower].append(right.lower)
    makers: tuple[Callable[[Random, str, dict[str, list[str]]], Pair | None], ...]
    makers = (
        _other_word,
        _other_word,
        _other_word,
        _without,
        _with,
        _negated,
        _reworded,
        _reworded,
        _reworded,
        _framed,
    )
    out: list[Pair] = []
    while len(out) < count:
        if pair := random.choice(makers)(random, random.choice(texts), after):
            out.append(pair)
    return out


def _other_word(random: Random, text: str, after: dict[str, list[str]]) -> Pair | None:
    parsed = parse(text)
    places = [
        i for i in range(1, len(parsed.words)) if parsed.words[i].content and len(parsed.words[i].text) > 2
    ]
    if not places:
        return None
    place = random.choice(places)
    old = parsed.words[place]
    new = unlike(random, old.lower, after[parsed.words[place - 1].lower] or [old.lower])
    changed = re.sub(rf"\b{re.escape(old.text)}\b", new, text)
    return None if changed == text else Pair(text, reword(random, changed, 0.1), False, "word replaced")


def _without(random: Random, text: str, after: dict[str, list[str]]) -> Pair | None:
    content = parse(text).content
    if len(content) < 3:
        return None
    old = random.choice(content)
    shorter = re.sub(rf"\s*\b{re.escape(old.text)}\b", "", text, count=1)
    return (
        Pair(shorter, text, False, "word dropped")
        if random.random() < 0.5
        else Pair(text, shorter, False, "word dropped")
    )


def _with(random: Random, text: str, after: dict[str, list[str]]) -> Pair | None:
    longer = re.sub(r"\b(a|my|the|an) (\w+)", rf"\1 {random.choice(_ADDED)} \2", text, count=1)
    return None if longer == text else Pair(text, longer, False, "word added")


def _negated(random: Random, text: str, after: dict[str, list[str]]) -> Pair | None:
    denied = re.sub(
        r"\b(is|are|was|do|does|did|can|could|will|should|would|have|has) (i|it|my|the|you|they|we)\b",
        r"\1 \2 not",
        text,
        count=1,
        flags=re.IGNORECASE,
    )
    return None if denied == text else Pair(text, denied, False, "negated")


def _reworded(random: Random, text: str, after: dict[str, list[str]]) -> Pair | None:
    return Pair(text, reword(random, text, random.choice((0.2, 0.5))), True, "reworded")


def _framed(random: Random, text: str, after: dict[str, list[str]]) -> Pair | None:
    framed = random.choice(_FRAMES).format(text[0].lower() + text[1:])
    return Pair(text, reword(random, framed, 0.2), True, "framed")
