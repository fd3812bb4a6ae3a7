"""Dates in structured output are days that there are."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from backend_engine.structured.schema import styled

BYTES = LLTokenizer("byte")
DATE = {"type": "string", "format": "date"}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_json_schema(styled(schema)))
    assert not matcher.is_error(), matcher.get_error()
    tokens = BYTES.tokenize_str(json.dumps(value))
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def exists(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


years = st.one_of(st.integers(0, 9999), st.integers(0, 99).map(lambda century: 100 * century))


@given(year=years, month=st.integers(0, 13), day=st.one_of(st.integers(0, 32), st.integers(28, 31)))
@example(year=0, month=4, day=22)
@example(year=1900, month=2, day=29)
@example(year=2000, month=2, day=29)
@example(year=2023, month=2, day=29)
def test_a_date_is_one_of_the_calendar(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    assert accepts(DATE, text) == exists(text)
    assert accepts({"type": "string", "format": "date-time"}, f"{text}T10:00:00Z") == exists(text)


@pytest.mark.parametrize(
    "place",
    [
        lambda part: {"type": "object", "properties": {"at": part}, "required": ["at"]},
        lambda part: {"type": "object", "additionalProperties": part},
        lambda part: {"$defs": {"day": part}, "anyOf": [{"properties": {"at": {"$ref": "#/$defs/day"}}}]},
        lambda part: {"properties": {"at": {"allOf": [part]}}},
    ],
)
def test_wherever_it_stands(place: Any) -> None:
    assert accepts(place(DATE), {"at": "2024-02-29"})
    assert not accepts(place(DATE), {"at": "2023-02-29"})


def test_other_demands_hold_beside_it() -> None:
    schema = {**DATE, "pattern": "^19", "allOf": [{"pattern": "-12-"}]}
    assert accepts(schema, "1987-12-01")
    assert not accepts(schema, "2087-12-01")
    assert not accepts(schema, "1987-11-01")


def test_a_property_called_format_is_no_date() -> None:
    assert accepts({"type": "object", "properties": {"format": {"const": "date"}}}, {"format": "date"})
