"""Tokens a byte, as they are learned."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.window.density import FIRST, Density, size_of


def test_nothing_seen_is_a_third_of_a_token() -> None:
    density = Density()
    assert density.upper == FIRST
    density.see(0, 5)
    assert density.upper == FIRST


def test_one_prompt_alone_does_not_lower_it() -> None:
    density = Density()
    density.see(4000, 1000)
    assert density.upper == FIRST
    density.see(1000, 800)
    assert density.upper > 0.8


@given(st.lists(st.floats(0.1, 1.0), min_size=8, max_size=40))
def test_it_stays_above_what_is_usual(seen: list[float]) -> None:
    density = Density()
    for share in seen:
        density.see(100_000, int(100_000 * share))
    assert density.upper <= 3.2
    assert density.upper >= sum(seen[-3:]) / 3 * 0.3


def test_equal_prompts_leave_a_small_margin() -> None:
    density = Density()
    for _ in range(20):
        density.see(4000, 1000)
    assert 0.25 < density.upper < 0.265


def test_how_a_text_is_escaped_makes_little_difference() -> None:
    text = "Grüße aus Köln, 你好, по-русски" * 100
    plain, _ = size_of(json.dumps(text, ensure_ascii=False).encode())
    escaped, _ = size_of(json.dumps(text).encode())
    assert abs(plain - escaped) < 0.3 * plain


def test_pictures_are_no_text() -> None:
    body = b'{"url": "data:image/png;base64,' + b"QUJD" * 100_000 + b'"}'
    assert size_of(body) == (11, 1024)
