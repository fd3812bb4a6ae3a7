"""How much the passages of a long text have to do with a question: words and meaning, each in its own order.

BM25 reads whole passages, so a title counts for its paragraph. The embedder reads sentences, since one among
others hardly shows in the vector of a passage. Either may put a
passage in front, so what the question says in other words is found, and so is a name that means nothing to
the embedder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.compression import bm25
from gateway.window.base import Means
from gateway.window.chunks import Chunk, packed
from gateway.window.units import Unit, units

Cut: TypeAlias = Callable[[Sequence[Unit]], list[Chunk]]
"""Makes passages of the units of a text."""

UNIT_TOKENS = 128
"""A longer sentence is cut."""
PASSAGE_TOKENS = 192
PIECE_TOKENS = (8, 32)
"""A piece with fewer takes in the next sentence of its paragraph, however long; none grows beyond the second.

One sentence, mostly: with a second one of its kind beside it, a fact that the question asks for in other
words falls from the first of 1,200 places to behind the twentieth.
"""
MOST_EMBEDDED = 64_000
"""Tokens of one text that the embedder reads at most: some 5 s on two cores. Of a longer text it reads the
passages that BM25 likes, up to half of that, and others at equal distances."""
BATCH = 256
"""Pieces in one call: others wait in the same queue."""
BM25_SHARE = 0.15
LIKELY = 0.28
"""Score from which a passage has to do with the question; BM25's own without the embedder."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """The passages of a text and what they are worth."""

    units: Sequence[Unit]
    passages: Sequence[Chunk]
    scores: Sequence[float]
    best_first: Sequence[int]
    """Places of passages, those that either order has in front first."""


async def relevance(
    text: str, question: str, means: Means, report: Callable[[int, int], None], cut: Cut
) -> Relevance:
    """Return what the passages into which a text is cut have to do with a question.

    `report` is told how many calls of the embedder are made, and of how many.
    """
    sentences, passages = await asyncio.to_thread(_units_and_passages, text, means, cut)
    texts = [text[passage.start : passage.end] for passage in passages]
    words = await asyncio.to_thread(bm25.scores, question, texts)
    meant = await _similarities(text, question, sentences, passages, words, means, report)
    return await asyncio.to_thread(_judged, sentences, passages, words, meant)


def _judged(
    sentences: Sequence[Unit],
    passages: Sequence[Chunk],
    words: Sequence[float],
    meant: Sequence[float | None] | None,
) -> Relevance:
    if meant is None:
        order = sorted(range(len(passages)), key=lambda place: (-words[place], place))
        return Relevance(sentences, passages, words, order)
    scores = [
        BM25_SHARE * by_words + (1 - BM25_SHARE) * (by_meaning or 0.0)
        for by_words, by_meaning in zip(words, meant, strict=True)
    ]
    first, second = _ranks(words), _ranks([0.0 if value is None else value for value in meant])
    order = sorted(
        range(len(passages)),
        key=lambda place: (min(first[place], second[place]), first[place] + second[place], place),
    )
    return Relevance(sentences, passages, scores, order)


def passages_of(sentences: Sequence[Unit]) -> list[Chunk]:
    """Return passages: a paragraph, some short ones, or a part of a long one."""
    return packed(sentences, PASSAGE_TOKENS, 0)


def pieces_of(sentences: Sequence[Unit]) -> list[Chunk]:
    """Return pieces: a sentence or some short ones of a paragraph, the heading with the first."""
    least, most = PIECE_TOKENS
    pieces: list[Chunk] = []
    first = used = 0
    for place, unit in enumerate(sentences):
        if place > first and (
            unit.block != sentences[place - 1].block or (used >= least and used + unit.tokens > most)
        ):
            pieces.append(_chunk(sentences, first, place, used))
            first, used = place, 0
        used += unit.tokens
    return [*pieces, _chunk(sentences, first, len(sentences), used)] if sentences else pieces


def _chunk(sentences: Sequence[Unit], first: int, last: int, tokens: int) -> Chunk:
    start, end = sentences[first].start, sentences[last - 1].end
    return Chunk(start, end, start, range(first, last), tokens)


def _units_and_passages(text: str, means: Means, cut: Cut) -> tuple[list[Unit], list[Chunk]]:
    sentences = units(text, UNIT_TOKENS, means.count)
    return sentences, cut(sentences)


async def _similarities(
    text: str,
    question: str,
    sentences: Sequence[Unit],
    passages: Sequence[Chunk],
    words: Sequence[float],
    means: Means,
    report: Callable[[int, int], None],
) -> list[float | None] | None:
    """Return the best similarity among each passage's pieces, None for those that were not read.

    Nothing at all if there is nobody to say.
    """
    read = await asyncio.to_thread(
        lambda: [
            (place, text[piece.start : piece.end])
            for place in _to_read(passages, words)
            for piece in pieces_of(sentences[passages[place].units.start : passages[place].units.stop])
        ]
    )
    best: list[float | None] = [None] * len(passages)
    calls = -(-len(read) // BATCH)
    for call in range(calls):
        batch = read[call * BATCH : (call + 1) * BATCH]
        found = await means.rank(question, [piece for _, piece in batch])
        if found is None:
            return None
        for (place, _), similarity in zip(batch, found, strict=True):
            before = best[place]
            best[place] = similarity if before is None else max(similarity, before)
        report(call + 1, calls)
    return best


def _to_read(passages: Sequence[Chunk], words: Sequence[float]) -> list[int]:
    """Return the places of the passages that the embedder reads, in their order."""
    total = sum(passage.tokens for passage in passages)
    if total <= MOST_EMBEDDED:
        return list(range(len(passages)))
    chosen: set[int] = set()
    left = MOST_EMBEDDED
    for place in sorted(range(len(passages)), key=lambda place: (-words[place], place)):
        if words[place] <= 0 or left - passages[place].tokens < MOST_EMBEDDED // 2:
            break
        chosen.add(place)
        left -= passages[place].tokens
    others = [place for place in range(len(passages)) if place not in chosen]
    most = max(1, len(others) * left // max(1, sum(passages[place].tokens for place in others)))
    for number in range(min(most, len(others))):
        place = others[number * len(others) // most]
        if passages[place].tokens > left:
            break
        chosen.add(place)
        left -= passages[place].tokens
    return sorted(chosen)


def _ranks(values: Sequence[float]) -> list[int]:
    """Return the place of each value in descending order; what is not above 0 comes behind everything."""
    ranks = [len(values)] * len(values)
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: (-values[place], place))):
        if values[place] > 0:
            ranks[place] = rank
    return ranks
