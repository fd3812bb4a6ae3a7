"""Chooses the units of a text that stay, by how well they fit the question.

BM25 looks at everything and costs next to nothing. Where it does not settle the matter, the best part of what
it found is compared by an embedder. A unit that names an id of the question always stays. Scores are
absolute, so a choice depends on this one text and its question only.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.compression import bm25
from gateway.compression.parts import Part, Passage, Records
from gateway.compression.perplexity.prune import abridged
from gateway.compression.perplexity.reading import Read

Rank: TypeAlias = Callable[[str, Sequence[str]], Awaitable[list[float] | None]]
"""Cosine similarities of texts to a question, or None if there is nobody to say."""

MOST_RANKED = 512
"""Passages that are compared by the embedder for one text."""
CUT_PASSAGES = 2
"""Passages of which a part may stay because not all of it fits."""
COMPARED = 1000
"""Characters of a passage that the embedder reads at most."""
BM25_SHARE, UNIT_SHARE = 0.15, 0.5
SHORTLIST = 0.7
"""Share of a text, best passages first, that BM25 hands on to the embedder."""
MOST_COMPARED = 16_000
"""The same in characters: some 4,000 tokens, 0.4 s at most on a small machine."""
DECISIVE, LEAD = 0.9, 2.0
"""BM25 settles the matter alone if the best passage matches this much, and that many times the next."""
MOST_ABRIDGED = 0.3
"""Share of a passage up to which it may be made to fit by leaving out words."""
KEEP_RANKED, KEEP_BM25 = 0.28, 0.25
"""Score from which a passage stays in mode `auto`, with the embedder and without it."""
_ID = re.compile(r"(?=[\w.:/@-]*\d)[\w][\w.:/@-]{4,}\w|\"[^\"\n]{3,}\"|“[^”\n]{3,}”|`[^`\n]{3,}`")


@dataclass(slots=True)
class Choice:
    """Which units of each part stay."""

    kept: list[set[int]]
    ranked: bool = False
    """The embedder was asked and answered."""
    abridged: dict[int, Passage] = field(default_factory=dict)
    """By their place, the parts whose sentences have lost words."""


@dataclass(slots=True)
class _Passage:
    part: int
    units: Sequence[int]
    text: str
    bm25: float = 0.0
    score: float = 0.0
    named: bool = False


@dataclass(slots=True)
class _Scored:
    passages: list[_Passage]
    ids: Sequence[str]
    """What the question names."""
    ranked: bool = False
    settled: bool = False
    """Words alone say which passage is meant."""


async def above_threshold(question: str, parts: Sequence[Part], rank: Rank | None) -> Choice:
    """Return the passages that have to do with the question; all of them if none has."""
    scored = await _score(question, parts, rank)
    least = KEEP_RANKED if scored.ranked else KEEP_BM25
    kept: list[set[int]] = [set() for _ in parts]
    for passage in scored.passages:
        if passage.score >= least or passage.named:
            kept[passage.part].update(passage.units)
    if not any(kept):
        kept = [set(range(len(part.units))) for part in parts]
    return Choice(kept, scored.ranked)


async def within(
    question: str, parts: Sequence[Part], budget: int, rank: Rank | None, read: Read | None = None
) -> Choice:
    """Return the best units that have at most `budget` characters together, marks included.

    The best passages stay whole while they fit; of the first that does not and the next, the best units stay.
    With `read`, that first one stays whole if it fits without some of its small words.
    """
    parts = list(parts)
    scored = await _score(question, parts, rank)
    kept: list[set[int]] = [set() for _ in parts]
    left = budget
    order = sorted(scored.passages, key=lambda passage: (not passage.named, -passage.score))
    cut: list[_Passage] = []
    after: list[_Passage] = []
    shortened: dict[int, Passage] = {}
    for passage in order:
        cost = _cost(parts[passage.part], passage.units, kept[passage.part])
        if cost > left and not cut and not shortened and read is not None:
            shorter = await _abridged(question, parts[passage.part], passage.units, cost - left, read)
            if shorter is not None:
                parts[passage.part] = shortened[passage.part] = shorter
                cost = _cost(shorter, passage.units, kept[passage.part])
        if len(cut) == CUT_PASSAGES:
            after.append(passage)
        elif cost <= left and not cut:
            kept[passage.part].update(passage.units)
            left -= cost
        elif cut or len(passage.units) > 1:
            cut.append(passage)
    if scored.settled and order[0] not in cut:
        # The rest only fills up what is left.
        rank = None
    units = [(passage, unit) for passage in cut for unit in passage.units]
    for passage, unit in await _best_units(question, parts, units, scored, rank):
        cost = _cost(parts[passage.part], (unit,), kept[passage.part])
        if cost <= left:
            kept[passage.part].add(unit)
            left -= cost
    for passage in after:
        cost = _cost(parts[passage.part], passage.units, kept[passage.part])
        if cost <= left:
            kept[passage.part].update(passage.units)
            left -= cost
    return Choice(kept, scored.ranked, shortened)


async def _abridged(
    question: str, part: Part, units: Sequence[int], excess: int, read: Read
) -> Passage | None:
    """Return a passage that is shorter by `excess` characters for the loss of words alone, if it can be."""
    if not isinstance(part, Passage) or not part.prose:
        return None
    if excess > MOST_ABRIDGED * sum(len(part.units[unit]) for unit in units):
        return None
    found = await read(question, [Passage(part.lead, [part.units[unit] for unit in units], prose=True)])
    return None if found is None else abridged(part, units, found[0].losses, excess)


def _cost(part: Part, units: Sequence[int], chosen: set[int]) -> int:
    return sum(len(part.units[unit]) + 1 for unit in units) + (0 if chosen else part.frame)


async def _best_units(
    question: str,
    parts: Sequence[Part],
    units: Sequence[tuple[_Passage, int]],
    scored: _Scored,
    rank: Rank | None,
) -> list[tuple[_Passage, int]]:
    """Return units of passages that are too long, the best first."""
    if not units:
        return []
    texts = [parts[passage.part].units[unit] for passage, unit in units]
    own = bm25.scores(question, texts)
    if rank is not None:
        # A sentence alone may say "he" or "there": the title tells of whom and where.
        titled = [parts[passage.part].lead + text for (passage, _), text in zip(units, texts, strict=True)]
        found = await rank(question, [text[:COMPARED] for text in titled[:MOST_RANKED]])
        if found is not None:
            scored.ranked = True
            found += [0.0] * (len(texts) - len(found))
            own = [
                BM25_SHARE * score + (1 - BM25_SHARE) * similarity
                for score, similarity in zip(own, found, strict=True)
            ]
    total = [
        UNIT_SHARE * score + (1 - UNIT_SHARE) * passage.score + 10 * _names(scored.ids, text)
        for (passage, _), text, score in zip(units, texts, own, strict=True)
    ]
    return [units[place] for place in sorted(range(len(units)), key=lambda place: (-total[place], place))]


def _names(ids: Sequence[str], text: str) -> bool:
    return any(name in text for name in ids)


async def _score(question: str, parts: Sequence[Part], rank: Rank | None) -> _Scored:
    passages: list[_Passage] = []
    for place, part in enumerate(parts):
        if isinstance(part, Records):
            passages += [_Passage(place, (unit,), text) for unit, text in enumerate(part.units)]
        else:
            passages += [
                _Passage(place, units, part.lead + "".join(part.units[unit] for unit in units))
                for units in _groups(part.units)
            ]
    ids = [found.strip('"“”`') for found in _ID.findall(question)]
    for passage, score in zip(passages, bm25.scores(question, [p.text for p in passages]), strict=True):
        passage.bm25 = passage.score = score
        passage.named = _names(ids, passage.text)
    settled = _settled(passages)
    if rank is None or settled:
        return _Scored(passages, ids, settled=settled)
    short = _shortlist(passages)
    found = await rank(question, [passage.text[:COMPARED] for passage in short])
    if found is None:
        return _Scored(passages, ids)
    for passage in passages:
        passage.score = BM25_SHARE * passage.bm25
    for passage, similarity in zip(short, found, strict=True):
        passage.score += (1 - BM25_SHARE) * similarity
    return _Scored(passages, ids, ranked=True)


def _groups(units: Sequence[str]) -> list[Sequence[int]]:
    """Return neighbours together, up to what is compared at once; a short passage is one group."""
    groups: list[Sequence[int]] = []
    start = size = 0
    for place, unit in enumerate(units):
        if place > start and size + len(unit) > COMPARED:
            groups.append(range(start, place))
            start, size = place, 0
        size += len(unit)
    if units:
        groups.append(range(start, len(units)))
    return groups


def _settled(passages: Sequence[_Passage]) -> bool:
    if len(passages) < 2 or any(passage.named for passage in passages):
        return True
    best, second = sorted((passage.bm25 for passage in passages), reverse=True)[:2]
    return best >= DECISIVE and best >= LEAD * second


def _shortlist(passages: Sequence[_Passage]) -> list[_Passage]:
    most = min(SHORTLIST * sum(len(passage.text) for passage in passages), MOST_COMPARED)
    chosen: list[_Passage] = []
    size = 0
    for passage in sorted(passages, key=lambda passage: -passage.bm25):
        if chosen and (size + len(passage.text) > most or len(chosen) == MOST_RANKED):
            break
        chosen.append(passage)
        size += len(passage.text)
    return chosen
