"""What fits the question stays, within a budget or above a threshold."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gateway.compression.parts import GAP_MARK, Part, passages, records
from gateway.compression.select import MOST_COMPARED, above_threshold, within

OTHERS = [f"Topic {word} has nothing to do with it. It goes on and on about {word}." for word in "abcdefgh"]
MILL = "The mill was built in 1704. The mill burnt down twice since."
PARTS: list[Part] = [part for text in [*OTHERS[:4], MILL, *OTHERS[4:]] for part in passages(text)]


class Ranker:
    """Says that texts with a word fit."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.asked: list[Sequence[str]] = []

    async def __call__(self, question: str, texts: Sequence[str]) -> list[float]:
        self.asked.append(texts)
        return [float(self.word in text) for text in texts]


async def silent(question: str, texts: Sequence[str]) -> None:
    """Stands for a process that does not answer."""


def text_of(parts: Sequence[Part], kept: Sequence[set[int]]) -> str:
    return " ".join(part.render(units) for part, units in zip(parts, kept, strict=True))


async def test_the_passage_that_answers_is_kept_within_the_budget() -> None:
    choice = await within("When was the mill built?", PARTS, 80, None)
    assert "1704" in text_of(PARTS, choice.kept) and len(text_of(PARTS, choice.kept).strip()) <= 80


async def test_nothing_fits_into_nothing() -> None:
    assert not any((await within("mill?", PARTS, 0, None)).kept)


async def test_above_the_threshold_only_what_fits_is_kept() -> None:
    choice = await above_threshold("When was the mill built?", PARTS, None)
    assert text_of(PARTS, choice.kept).strip() == MILL


async def test_where_nothing_fits_everything_is_kept() -> None:
    choice = await above_threshold("Who shot the zeppelin?", PARTS, None)
    assert all(choice.kept)


async def test_the_embedder_decides_where_words_do_not() -> None:
    ranker = Ranker("Topic b")
    choice = await within("Does it go on about a topic of something?", PARTS, 100, ranker)
    assert choice.ranked and "Topic b" in text_of(PARTS, choice.kept)


async def test_the_embedder_is_not_asked_where_words_settle_it() -> None:
    ranker = Ranker("Topic b")
    choice = await within("When was the mill built?", PARTS, 100, ranker)
    assert not choice.ranked and ranker.asked == []


async def test_of_a_long_passage_the_part_that_fits_is_kept() -> None:
    lines = [f"12:{n % 60:02} worker {n} has nothing to report at this time\n" for n in range(200)]
    lines[150] = "12:30 the mill was built in 1704\n"
    (log,) = passages("".join(lines))
    kept = log.render((await above_threshold("When was the mill built?", [log], None)).kept[0])
    assert "1704" in kept and len(kept) < 2000 and GAP_MARK in kept


async def test_no_more_is_compared_than_there_is_time_for() -> None:
    ranker = Ranker("x")
    parts: list[Part] = [
        passages(f"It goes on about a topic, and on. {n} " + "More of it. " * 60)[0] for n in range(90)
    ]
    await above_threshold("Does it go on about a topic?", parts, ranker)
    assert 0 < sum(map(len, ranker.asked[0])) <= MOST_COMPARED


async def test_without_an_answer_words_decide() -> None:
    question = "Does it go on about a topic of something?"
    assert (await within(question, PARTS, 100, silent)).kept == (
        await within(question, PARTS, 100, None)
    ).kept


async def test_a_record_that_the_question_names_stays() -> None:
    part = records(json.dumps({f"k-{n:04}": f"value {n}" for n in range(200)}))
    assert part is not None
    choice = await within("What is the value of k-0137?", [part], 60, None)
    assert json.loads(part.render(choice.kept[0]))["k-0137"] == "value 137"
