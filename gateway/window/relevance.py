"""How much the passages of a long text have to do with a question: words and meaning, each in its own order.

BM25 reads whole passages, so a title counts for its paragraph. The embedder reads pieces of two or three
sentences: one sentence among many others hardly shows in the vector of a passage. Either may put a passage in
front, so what the question says in other words is found, and so is a name that means nothing to the embedder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.compression import bm25
from gateway.window.base import Means
from gateway.window.chunks import Chunk, packed
from gateway.window.units import Unit, units

UNIT_TOKENS = 64
PASSAGE_TOKENS = 192
PIECE_TOKENS = 64
"""What the embedder reads at once."""
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
    text: str, question: str, means: Means, report: Callable[[int, int], None], most: int = PASSAGE_TOKENS
) -> Relevance:
    """Return what passages of at most `most` tokens have to do with a question.

    `report` is told how many calls of the embedder are made, and of how many.
    """
    pieces, passages = await asyncio.to_thread(_passages, text, means, most)
    texts = [text[passage.start : passage.end] for passage in passages]
    words = await asyncio.to_thread(bm25.scores, question, texts)
    meant = await _similarities(text, question, pieces, passages, words, means, report)
    if meant is None:
        order = sorted(range(len(passages)), key=lambda place: (-words[place], place))
        return Relevance(pieces, passages, words, order)
    scores = [
        BM25_SHARE * by_words + (1 - BM25_SHARE) * (by_meaning or 0.0)
        for by_words, by_meaning in zip(words, meant, strict=True)
    ]
    first, second = _ranks(words), _ranks([0.0 if value is None else value for value in meant])
    order = sorted(
        range(len(passages)),
        key=lambda place: (min(first[place], second[place]), first[place] + second[place], place),
    )
    return Relevance(pieces, passages, scores, order)


def _passages(text: str, means: Means, most: int) -> tuple[list[Unit], list[Chunk]]:
    pieces = units(text, UNIT_TOKENS, means.count)
    return pieces, packed(pieces, most, 0)


async def _similarities(
    text: str,
    question: str,
    pieces: Sequence[Unit],
    passages: Sequence[Chunk],
    words: Sequence[float],
    means: Means,
    report: Callable[[int, int], None],
) -> list[float | None] | None:
    """Return the best similarity among each passage's pieces, None for those that were not read.

    Nothing at all if there is nobody to say.
    """
    read = [
        (place, text[piece.start : piece.end])
        for place in _to_read(passages, words)
        for piece in packed(pieces[passages[place].units.start : passages[place].units.stop], PIECE_TOKENS, 0)
    ]
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
