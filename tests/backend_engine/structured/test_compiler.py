"""Schemas that cannot be enforced are refused by the part that is at fault; the others compile once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend_engine.errors import UnsupportedSchema
from backend_engine.structured.compiler import MAX_GRAMMARS, GrammarCompiler
from backend_engine.structured.grammar import Structure, ToolFunction


def nested(schema: dict[str, Any]) -> dict[str, Any]:
    """Put `schema` where the fault has to be found: in a tuple, in a definition, behind a reference."""
    return {
        "type": "object",
        "properties": {"ok": {"type": "string"}, "a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "array", "prefixItems": [{"type": "integer"}, schema]}},
    }


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"not": {"const": 1}}, '"not"'),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"if": {}, "then": {"type": "string"}}, '"if"'),
        ({"type": "object", "propertyNames": {"pattern": "a"}}, "propertyNames"),
        ({"type": "array", "contains": {"const": 1}}, "contains"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}, "oneOf"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"),
        ({"type": "string", "pattern": r"(a)\1"}, "backreferences"),
        ({"type": "string", "format": "isbn"}, "isbn"),
        ({"type": "frob"}, "frob"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"$ref": "#/$defs/Nothing"}, "/$defs/Nothing"),
        ({"type": "object", "minProperties": 3}, "minProperties 3"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, "exclusiveMinimum 0"),
    ],
)
async def test_what_cannot_be_enforced_is_named(
    compiler: GrammarCompiler, schema: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        await compiler.compile(Structure(answer=nested(schema)))
    assert words in str(caught.value)
    assert caught.value.param == "response_format"
    assert "$defs.A.prefixItems[1]" in str(caught.value)


async def test_a_callers_own_settings_for_the_library_count_for_nothing(compiler: GrammarCompiler) -> None:
    with pytest.raises(UnsupportedSchema, match='"not"'):
        await compiler.compile(Structure(answer={"x-guidance": {"lenient": True}, "not": {}}))


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"enum": []},
    ],
)
async def test_a_schema_that_nothing_satisfies_is_refused(
    compiler: GrammarCompiler, schema: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedSchema, match=r"finite|Unsatisfiable"):
        await compiler.compile(Structure(answer=schema))


async def test_a_tools_schema_is_refused_by_its_place(compiler: GrammarCompiler) -> None:
    bad = ToolFunction(
        "f", {"type": "object", "properties": {"x": {"not": {}}}}, "tools[3].function.parameters"
    )
    with pytest.raises(UnsupportedSchema, match=r"properties\.x") as caught:
        await compiler.compile(Structure(functions=(bad,)))
    assert caught.value.param == "tools[3].function.parameters"


@pytest.mark.parametrize("depth", [100, 3000])
async def test_a_deep_schema_is_refused_without_harm(compiler: GrammarCompiler, depth: int) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"anyOf": [schema, {"type": "null"}]}
    with pytest.raises(UnsupportedSchema):
        await compiler.compile(Structure(answer=schema))


async def test_requests_for_one_schema_share_a_compilation(compiler: GrammarCompiler) -> None:
    structure = Structure(answer={"type": "object", "properties": {"a": {"type": "string"}}})
    first, *others = await asyncio.gather(*(compiler.compile(structure) for _ in range(5)))
    assert all(grammar is first for grammar in others)
    assert await compiler.compile(structure) is first


async def test_a_client_that_leaves_does_not_take_the_compilation_along(compiler: GrammarCompiler) -> None:
    structure = Structure(answer={"type": "object", "properties": {"b": {"type": "string"}}})
    leaving = asyncio.create_task(compiler.compile(structure))
    staying = asyncio.create_task(compiler.compile(structure))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).guide().mask().any()


async def test_a_refusal_is_not_kept(compiler: GrammarCompiler) -> None:
    structure = Structure(answer={"not": {}})
    for _ in range(2):
        with pytest.raises(UnsupportedSchema):
            await compiler.compile(structure)
    assert compiler.num_grammars == 0


async def test_the_oldest_grammar_makes_room(compiler: GrammarCompiler) -> None:
    for number in range(MAX_GRAMMARS + 3):
        await compiler.compile(Structure(answer={"const": number}))
    assert compiler.num_grammars == MAX_GRAMMARS
