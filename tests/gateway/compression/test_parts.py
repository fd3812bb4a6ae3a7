"""Units are whole sentences, lines and records, and what is missing is said."""

from __future__ import annotations

import json

import pytest

from gateway.compression.parts import Passage, Records, passages, records, sentences


def test_sentences_end_where_sentences_end() -> None:
    text = "Dr. A. Smith paid $3.50 to St. Mary's Inc. in May. It rained. Was it wet? Yes!"
    assert [part.strip() for part in sentences(text)] == [
        "Dr. A. Smith paid $3.50 to St. Mary's Inc. in May.",
        "It rained.",
        "Was it wet?",
        "Yes!",
    ]


def test_a_quotation_is_one_unit() -> None:
    text = 'She said "It is late. Go home." and left. Nobody moved.'
    assert next(iter(sentences(text))).strip() == 'She said "It is late. Go home." and left.'


def test_a_title_stays_with_whatever_stays_of_its_passage() -> None:
    (passage,) = passages("Document 3: Rivers\nThe Elbe is long. The Oder is longer. The Spree is not.")
    assert passage.render({1}) == "Document 3: Rivers\n[…] The Oder is longer. […]"
    assert passage.render(set()) == ""


def test_lines_of_a_log_are_units() -> None:
    log = "12:01 GET /a 200\n12:02 GET /b 500\n12:03 GET /c 200"
    assert [unit.strip() for unit in passages(log)[0].units] == log.split("\n")


def test_long_lines_below_each_other_are_passages() -> None:
    lines = [f"Document [{n}] " + "It says something rather long here. " * 6 for n in range(3)]
    assert [type(part) for part in passages("\n".join(lines))] == [Passage] * 3


def test_broken_lines_of_prose_are_sentences() -> None:
    text = (
        "The tower stands in the middle of\nthe old town and is one hundred\nmetres. Guilds built it\nin May."
    )
    assert len(passages(text)[0].units) == 2


@pytest.mark.parametrize("wrapped", [False, True])
def test_records_that_stay_are_the_same_bytes_and_the_rest_is_valid_json(wrapped: bool) -> None:
    rows = [{"id": n, "amount": f"{n}.50"} for n in range(10)]
    text = json.dumps({"total": 10, "rows": rows} if wrapped else rows)
    part = records(text)
    assert isinstance(part, Records) and part.whole.replace(" ", "") == text.replace(" ", "")
    left = json.loads(part.render({2, 7}))
    left = left["rows"] if wrapped else left
    assert left == [rows[2], rows[7], "[8 of 10 left out]"]


def test_members_of_an_object_are_records() -> None:
    part = records(json.dumps({f"key{n}": n for n in range(6)}))
    assert part is not None
    assert json.loads(part.render({3})) == {"key3": 3, "[left out]": "5 of 6 left out"}


@pytest.mark.parametrize("text", ["[1,2]", '{"a":1,"a":2,"b":3,"c":4}', "7", "[1,2,3,"])
def test_what_has_no_records_is_left_alone(text: str) -> None:
    assert records(text) is None
