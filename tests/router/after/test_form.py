"""The form of an answer, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest

from router.after.form import fits, json_validity, refuses, repetition

SCHEMA = {
    "type": "object",
    "required": ["city", "people"],
    "properties": {
        "city": {"type": "string"},
        "people": {"type": "integer"},
        "kind": {"enum": ["town", "village"]},
        "twins": {"type": "array", "items": {"type": ["string", "null"]}},
    },
    "additionalProperties": False,
}


def asked(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help with that.", "I cannot answer this.", "As an AI, I hold no views."],
)
def test_refusals_are_known(text: str) -> None:
    assert refuses(text)
    assert refuses(text.replace("'", "\u2019"))


def test_an_answer_that_quotes_a_refusal_later_is_none() -> None:
    assert not refuses("The letter has three parts. " * 12 + "It ends: I'm sorry, I cannot come.")


def test_a_loop_repeats_itself_and_prose_does_not() -> None:
    assert repetition("and so on and on it goes " * 20) > 0.8
    assert repetition("A short text in which no four words come twice.") == 0


@pytest.mark.parametrize(
    "answer", ['{"city": "Ulm", "people": 126000}', '{"city": "Ulm", "people": 1e3, "twins": [null]}']
)
def test_json_that_fits_its_schema_is_valid(answer: str) -> None:
    assert json_validity(answer, asked(SCHEMA)) == "valid"


@pytest.mark.parametrize(
    "answer",
    [
        "Ulm has 126,000 people.",
        '```json\n{"city": "Ulm", "people": 1}\n```',
        '{"city": "Ulm"}',
        '{"city": "Ulm", "people": "many"}',
        '{"city": "Ulm", "people": true}',
        '{"city": "Ulm", "people": 1, "river": "Danube"}',
        '{"city": "Ulm", "people": 1, "kind": "city"}',
        '{"city": "Ulm", "people": 1, "twins": [3]}',
        "[]",
        "[" * 100_000,
    ],
)
def test_json_that_does_not_is_invalid(answer: str) -> None:
    assert json_validity(answer, asked(SCHEMA)) == "invalid"


def test_json_mode_wants_an_object() -> None:
    assert json_validity("{}", {"type": "json_object"}) == "valid"
    assert json_validity("3", {"type": "json_object"}) == "invalid"


@pytest.mark.parametrize("format_", [None, {}, {"type": "text"}])
def test_text_needs_no_form(format_: dict[str, Any] | None) -> None:
    assert json_validity("no JSON", format_) == "not-asked"


def test_a_constant_must_be_met() -> None:
    assert json_validity("2", asked({"const": 2})) == "valid"
    assert json_validity("3", asked({"const": 2})) == "invalid"


def one_of(*schemas: Any) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


TREE = {
    "$defs": {
        "node": {"type": "object", "properties": {"left": {"$ref": "#/$defs/node"}}, "required": ["id"]}
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (one_of({"type": "string"}, {"type": "null"}), [None, "a"], [1]),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, [1, 2], [3]),
        ({"allOf": [{"minimum": 2}, {"maximum": 4}]}, [2, 4.0, "a"], [1, 5]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], ["a", "abcd"]),
        ({"type": "array", "minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
        ({"additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "b"}]),
        ({"properties": {"a": False}}, [{"b": 1}], [{"a": 1}]),
        (TREE, [{"id": 1, "left": {"id": 2}}], [{"id": 1, "left": {}}, {}]),
        ({"$ref": "#"}, [1, {}], []),
        ({"$ref": "https://example.com/schema"}, [1, {}], []),
    ],
)
def test_the_rules_that_are_known_are_kept(schema: Any, good: list[Any], bad: list[Any]) -> None:
    assert all(fits(value, schema) for value in good)
    assert not any(fits(value, schema) for value in bad)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("way", ["allOf", "anyOf"])
def test_a_schema_that_doubles_with_each_level_ends(way: str) -> None:
    rest = {"type": "object"} if way == "allOf" else {"type": "string"}
    schema = {way: [{"$ref": "#"}, {"$ref": "#"}], **rest}
    assert fits({"a": 1}, schema) is (way == "allOf")


def test_of_a_long_answer_all_is_looked_at() -> None:
    schema = {"type": "array", "items": {"type": "integer"}}
    assert fits([1] * 10_000, schema)
    assert not fits([1] * 10_000 + ["x"], schema)
