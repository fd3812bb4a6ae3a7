"""A text is cut into segments, and is what they are together."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compression.parts import passages, sentences
from gateway.compression.segments import segments

PIECES = st.sampled_from(
    [
        "One. Two!",
        "\n",
        "\n\n",
        " ",
        "```py\nx = 1\n\ny\n```",
        "[1] see",
        '{"a": [1, 2]}',
        "- item",
        '"A. B." he said.',
        "~~~\n",
        "\t",
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=60)
RECORDS = json.dumps([{"n": n, "text": "word " * 3} for n in range(5)], indent=1)


@given(TEXTS)
def test_segments_together_are_the_text(text: str) -> None:
    assert "".join(segment.text for segment in segments(text)) == text


@given(TEXTS)
def test_passages_together_are_the_paragraph(text: str) -> None:
    assert "".join(passage.whole for passage in passages(text)) == text
    assert "".join(sentences(text)) == text


def test_code_is_one_segment_although_it_has_blank_lines() -> None:
    code = "```python\na = 1\n\n\nb = {}\n```"
    assert [
        (part.kind, part.text) for part in segments(f"Look:\n\n{code}\n\nWhy?") if part.kind != "gap"
    ] == [
        ("text", "Look:"),
        ("code", code),
        ("text", "Why?"),
    ]


@pytest.mark.parametrize("sign", ["`", "~", " "])
def test_a_last_line_of_many_signs_is_soon_read(sign: str) -> None:
    text = "Look:\n\n```" + sign * 1_000_000
    assert "".join(segment.text for segment in segments(text)) == text


def test_json_is_found_between_paragraphs() -> None:
    kinds = [
        (part.kind, part.text) for part in segments(f"Data:\n{RECORDS}\n\nWhich?") if part.kind == "json"
    ]
    assert kinds == [("json", RECORDS)]


def test_brackets_in_prose_are_no_json() -> None:
    assert {
        part.kind for part in segments("[1] " + "a reference to something long enough to count. " * 3)
    } == {"text"}
