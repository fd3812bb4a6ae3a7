"""Words and meaning each put passages in front, and the embedder reads no more than it may."""

from __future__ import annotations

import itertools

from gateway.window.relevance import MOST_EMBEDDED, PIECE_TOKENS, Relevance, passages_of, pieces_of, relevance
from gateway.window.units import units
from tests.gateway.window.strategy_means import Doubles, count, document

FACT = "The abbot of Quenby hides a lute."


async def ranked(doubles: Doubles, text: str, question: str) -> tuple[Relevance, list[str]]:
    told: list[tuple[int, int]] = []
    found = await relevance(
        text, question, doubles.means, lambda done, of: told.append((done, of)), passages_of
    )
    assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
    return found, [
        text[found.passages[place].start : found.passages[place].end] for place in found.best_first
    ]


async def test_words_alone_find_a_passage_where_nobody_can_rank() -> None:
    found, texts = await ranked(Doubles(), document(40, {23: FACT}), "What does the abbot hide?")
    assert FACT in texts[0] and found.scores[found.best_first[0]] > 0


async def test_meaning_finds_a_passage_that_shares_no_word_with_the_question() -> None:
    doubles = Doubles(fits=lambda text: float("lute" in text))
    _, texts = await ranked(doubles, document(40, {23: FACT}), "Which instrument has the monk?")
    assert FACT in texts[0]


async def test_either_may_put_a_passage_in_front_of_the_other() -> None:
    doubles = Doubles(fits=lambda text: 0.9 if "Hamlet 7\n" in text else 0.2)
    _, texts = await ranked(doubles, document(40, {23: FACT}), "What does the abbot hide?")
    assert any(FACT in text for text in texts[:2]) and any("Hamlet 7\n" in text for text in texts[:2])


async def test_the_embedder_reads_all_of_it_sentence_by_sentence() -> None:
    doubles = Doubles(fits=lambda text: 0.0)
    text = document(40)
    await ranked(doubles, text, "What?")
    assert "".join(doubles.ranked) == text
    assert all(count(piece) <= PIECE_TOKENS[1] for piece in doubles.ranked)


def test_a_piece_is_a_sentence_or_some_short_ones_of_one_paragraph() -> None:
    sentence = "This sentence has so many words that no other of its kind has room beside it. "
    assert count(2 * sentence) > PIECE_TOKENS[1]
    text = f"Title\n{sentence * 2}It is. It was.\n\nNext paragraph."
    found = [text[piece.start : piece.end] for piece in pieces_of(units(text, 128, count))]
    assert found == [f"Title\n{sentence}", f"{sentence}It is. It was.\n\n", "Next paragraph."]


async def test_of_a_very_long_text_the_embedder_reads_what_words_like_and_a_sample() -> None:
    text = document(3000, dict.fromkeys(range(2900, 2910), FACT))
    assert count(text) > 1.5 * MOST_EMBEDDED
    doubles = Doubles(fits=lambda text: 0.0)
    await ranked(doubles, text, "What does the abbot hide?")
    assert sum(count(piece) for piece in doubles.ranked) <= MOST_EMBEDDED * 1.02
    assert sum(FACT in piece for piece in doubles.ranked) == 10
    read = [text.index(piece) for piece in doubles.ranked if piece.startswith("Hamlet")]
    assert read == sorted(read)
    assert max(after - before for before, after in itertools.pairwise(read)) < len(text) // 100


async def test_a_word_of_every_passage_does_not_fill_the_whole_sample() -> None:
    text = document(3000)
    doubles = Doubles(fits=lambda text: 0.0)
    await ranked(doubles, text, "Which hamlet?")
    read = [text.index(piece) for piece in doubles.ranked if piece.startswith("Hamlet")]
    assert max(read) > 0.9 * len(text)
