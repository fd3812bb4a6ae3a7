"""Outcome logs are read strictly where it matters and generously elsewhere."""

from __future__ import annotations

import json

import pytest

from router.errors import BadOutcomes
from router.outcomes import Outcome, parse_outcomes


def line(**fields: object) -> str:
    return json.dumps({"prompt": "Which metal is liquid?", "weak_correct": 1, "strong_correct": 0, **fields})


def test_nulls_and_unknown_fields_are_no_error() -> None:
    found = parse_outcomes(
        [line(topic=None, weak_cost=None, seen="by somebody"), "", line(strong_cost=0.25)], "log"
    )

    assert found[0] == Outcome("Which metal is liquid?", True, False)
    assert found[1].strong_cost_usd == 0.25
    assert found[0].gain == -1


def test_an_outcome_without_both_flags_compares_nothing() -> None:
    assert parse_outcomes([line(strong_correct=None), line(weak_correct=None)], "log") == []


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        line(weak_correct=2),
        line(prompt=None),
        line(topic=3),
        line(weak_cost=-1),
        line(weak_cost="1"),
    ],
)
def test_what_cannot_be_read_names_its_line(bad: str) -> None:
    with pytest.raises(BadOutcomes, match="log:2: "):
        parse_outcomes([line(), bad], "log")
