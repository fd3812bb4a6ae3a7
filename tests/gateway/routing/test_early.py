from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.early import Early
from router.after.signs import SmallAnswer, signs_of


def read(text: str, size: int, response_format: dict[str, Any] | None = None) -> str | None:
    early = Early(response_format)
    for at in range(0, len(text), size):
        if (broken := early.broken(text[at : at + size])) is not None:
            return broken
    return None


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("I'm sorry, but I can't help with that.", "refused"),
        ("As an aid to memory, write it down. " * 3, None),
        ("The same words again and again. " * 100, "looping"),
        ("A list: " + " ".join(f"item {number} costs {number * 7} euros," for number in range(200)), None),
    ],
)
def test_it_tells_as_soon_as_it_can_be_told(text: str, broken: str | None, size: int) -> None:
    assert read(text + " ", size) == broken


@pytest.mark.parametrize(
    ("kind", "text", "broken"),
    [
        ("json_object", ' \n{"a": 1', None),
        ("json_object", "Sure: {", "form"),
        ("json_object", "```json", "form"),
        ("json_schema", "[1", None),
        ("json_schema", "Sure: [", "form"),
        ("text", "Sure", None),
    ],
)
def test_json_begins_like_json(kind: str, text: str, broken: str | None) -> None:
    assert read(text, 1, {"type": kind}) == broken


WORDS = st.lists(
    st.sampled_from(["I'm", "sorry", "as", "an", "ai", "seven", "times", "eight", "is"]), max_size=60
)


@given(WORDS, st.integers(1, 20))
def test_what_it_refuses_would_be_refused_at_the_end(words: list[str], size: int) -> None:
    text = " ".join(words) + " "
    if read(text, size) == "refused":
        assert signs_of(SmallAnswer("?", text)).broken == "refused"
