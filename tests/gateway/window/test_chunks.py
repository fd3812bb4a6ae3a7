"""Chunks cover the text in order, keep to their size, and overlap by no more than they may."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.window.chunks import chunked
from tests.gateway.window.strategy_means import count, document
from tests.gateway.window.test_units import TEXTS


@given(TEXTS, st.integers(8, 80), st.integers(0, 7))
def test_every_character_is_in_a_chunk_in_order_and_within_bounds(text: str, most: int, overlap: int) -> None:
    chunks = chunked(text, most, overlap, count)
    assert "".join(text[chunk.fresh : chunk.end] for chunk in chunks) == text
    for chunk in chunks:
        assert chunk.start <= chunk.fresh < chunk.end
        assert count(text[chunk.start : chunk.end]) <= chunk.tokens <= most
        assert count(text[chunk.start : chunk.fresh]) <= overlap
    for before, after in pairwise(chunks):
        assert before.start < after.start <= before.end == after.fresh


def test_chunks_repeat_whole_sentences_of_the_one_before() -> None:
    text = document(30)
    chunks = chunked(text, 100, 30, count)
    repeated = [text[chunk.start : chunk.fresh] for chunk in chunks[1:]]
    assert sum(map(bool, repeated)) > len(chunks) // 2
    assert all(part.rstrip().endswith(".") for part in repeated if part)


def test_a_chunk_ends_with_a_paragraph_where_that_leaves_it_half_full() -> None:
    text = document(40)
    ends = [chunk.end for chunk in chunked(text, 150, 0, count)]
    assert all(text[end - 2 : end] == "\n\n" for end in ends[:-1])


@pytest.mark.parametrize(
    "code",
    ["```\na = 1\n\nb = 2\n```", '[{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}, {"a": 5}, {"a": 6}, {"a": 7}]'],
)
def test_code_and_json_are_whole_where_they_fit(code: str) -> None:
    text = document(3) + "\n\n" + code + "\n\n" + document(3)
    assert any(code in text[chunk.start : chunk.end] for chunk in chunked(text, 60, 0, count))


def test_a_growing_text_keeps_all_chunks_but_the_last() -> None:
    short, long = document(50), document(80)
    before, after = chunked(short, 200, 20, count), chunked(long, 200, 20, count)
    assert after[: len(before) - 1] == before[:-1]


def test_counting_is_linear_in_the_text() -> None:
    def counted(passages: int) -> int:
        characters = 0

        def counting(text: str) -> int:
            nonlocal characters
            characters += len(text)
            return count(text)

        text = document(passages) + "x" * (100 * passages) + " word" * (20 * passages)
        chunked(text, 200, 20, counting)
        return characters

    assert counted(2000) < 3 * counted(1000)
