"""What is left of a text says where something is missing."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.window.excerpt import excerpt
from gateway.window.units import units
from tests.gateway.window.strategy_means import count, document

TEXT = "Title\nIt is old. It is new. It is blue.\n\nSecond paragraph here.\n\nThird one. With two."
UNITS = units(TEXT, 64, count)


def test_everything_is_the_text() -> None:
    assert excerpt(TEXT, UNITS, set(range(len(UNITS)))) == TEXT


def test_sentences_and_passages_that_are_missing_leave_a_mark() -> None:
    last = len(UNITS) - 1
    assert excerpt(TEXT, UNITS, {0, 2}) == "Title\nIt is old. […] It is blue.\n\n[2 passages left out]"
    assert excerpt(TEXT, UNITS, {1, last}) == "[…] It is new. […]\n\n[1 passages left out]\n\n[…] With two."
    assert excerpt(TEXT, UNITS, set()) == "[3 passages left out]"


def test_what_is_left_of_records_is_json() -> None:
    text = json.dumps([{"id": number, "name": f"name {number}"} for number in range(40)])
    pieces = units(text, 20, count)
    left = json.loads(excerpt(text, pieces, {3, 17}))
    assert left == [{"id": 3, "name": "name 3"}, {"id": 17, "name": "name 17"}, "[38 of 40 left out]"]


@given(st.sets(st.integers(0, 39)))
def test_what_is_kept_stands_there_in_its_order(kept: set[int]) -> None:
    text = document(10)
    pieces = units(text, 64, count)
    left, at = excerpt(text, pieces, kept), 0
    for place in sorted(kept & set(range(len(pieces)))):
        at = left.index(text[pieces[place].start : pieces[place].end].strip(), at)
