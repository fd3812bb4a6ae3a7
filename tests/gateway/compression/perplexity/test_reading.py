"""A passage is read twice in one call: by itself, and after the question."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.compression.parts import Passage
from gateway.compression.perplexity.nll import Token
from gateway.compression.perplexity.reading import reading_with
from tests.gateway.support.likelihoods import letters

PASSAGE = Passage("On mills\n", ["There was a mill. ", "It is here."], prose=True)


async def test_words_lose_what_they_say_and_sentences_are_told_by_the_question() -> None:
    asked: list[Sequence[str]] = []

    async def score(texts: Sequence[str]) -> list[list[Token]]:
        asked.append(texts)
        return await letters(texts)

    (reading,) = await reading_with(score)("mill?", [PASSAGE]) or ()
    assert asked == [[PASSAGE.whole, f"mill?\n\n{PASSAGE.whole}"]]
    # One nat a letter, less half for a word of the question.
    assert reading.losses == [math.inf, 3.0, 1.0, math.inf, math.inf, 2.0, math.inf]
    assert reading.told[0] > 0 and reading.told[1] == 0


async def test_without_likelihoods_there_is_no_reading() -> None:
    async def score(texts: Sequence[str]) -> None:
        return None

    assert await reading_with(score)("mill?", [PASSAGE]) is None
