"""Tokens stand where they belong in the text, or it is not scored."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compression.perplexity.nll import (
    Misaligned,
    Position,
    PromptToken,
    Token,
    aligned,
    mean,
    of_spans,
)


def said(*pieces: bytes) -> list[Position]:
    """What an engine says of these tokens, the first of which it says nothing about."""
    out: list[Position] = [None]
    for place, piece in enumerate(pieces[1:], 1):
        text = piece.decode(errors="replace")
        own = list(piece) if "\ufffd" in text else None
        out.append({str(place): PromptToken(-float(place), text, own)})
    return out


def test_tokens_are_found_by_what_they_say() -> None:
    assert aligned("The mill, here", said(b"The", b" mill", b",", b" here")) == [
        Token(0, 3, 0.0),
        Token(3, 8, 1.0),
        Token(8, 9, 2.0),
        Token(9, 14, 3.0),
    ]


def test_a_token_that_only_marks_the_beginning_has_no_characters() -> None:
    assert aligned("mill", said(b"", b"mill")) == [Token(0, 0, 0.0), Token(0, 4, 1.0)]


@given(st.text(alphabet="aé漢🎉 ", min_size=1), st.lists(st.integers(0, 400)))
def test_tokens_that_cut_characters_cover_them(text: str, cuts: list[int]) -> None:
    content = text.encode()
    bounds = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    pieces = [content[start:end] for start, end in pairwise(bounds)]
    tokens = aligned(text, said(*pieces))
    for token, piece, start in zip(tokens, pieces, bounds, strict=False):
        # The smallest run of characters that holds the token's bytes.
        before = text[: token.start].encode()
        assert (
            len(before) <= start
            and before + text[token.start : token.end].encode() >= content[: start + len(piece)]
        )
        assert len(text[: token.start + 1].encode()) > start
        assert len(text[: token.end - 1].encode()) < start + len(piece)


@pytest.mark.parametrize(
    "positions",
    [
        said(b"The", b" mall"),
        said(b"The", b" mill", b" and more than there is"),
        [None, {"1": PromptToken(-1.0, "\ufffd")}],
        [None, {"1": PromptToken(-1.0, " mill"), "2": PromptToken(-2.0, " rival")}],
        [None, {"1": PromptToken(-1.0, None, [700])}],
        [None, None],
        [],
    ],
)
def test_what_does_not_add_up_is_refused(positions: list[Position]) -> None:
    with pytest.raises(Misaligned):
        aligned("The mill", positions)


def test_a_token_belongs_to_the_word_that_it_begins() -> None:
    text = "The mill is here"
    tokens = [Token(0, 3, 0.5), Token(3, 6, 1.0), Token(6, 8, 2.0), Token(8, 9, 9.0), Token(9, 16, 3.0)]
    assert of_spans(tokens, text, [(0, 3), (4, 8), (12, 16)]) == [[0.5], [1.0, 2.0], []]
    assert of_spans(tokens, text, [(9, 11)]) == [[3.0]]


def test_the_mean_of_nothing_is_nothing() -> None:
    assert mean([]) == 0.0 and mean([1.0, 3.0]) == 2.0
