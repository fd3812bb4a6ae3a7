"""What an answer with tools may be, written at random and read back."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from backend_engine.server.tool_calls import ToolCallReader
from backend_engine.structured.compiler import GrammarCompiler
from backend_engine.structured.grammar import MAX_CALLS, Structure, ToolFunction
from backend_engine.tokenizer import Tokenizer
from tests.backend_engine.support.guided import allowed_ids, text_of, write_at_random

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"$ref": "#/$defs/U"}},
    "required": ["city", "unit"],
    "additionalProperties": False,
    "$defs": {"U": {"enum": ["c", "f"]}},
}
ZONE = {**CITY, "$defs": {"U": {"type": "integer", "minimum": 0, "maximum": 9}}}
FUNCTIONS = (
    ToolFunction("get_city", CITY, "tools[0].function.parameters"),
    ToolFunction("get_zone", ZONE, "tools[1].function.parameters"),
)


def read(text: str) -> ToolCallReader:
    reader = ToolCallReader()
    reader.push(text, final=True)
    return reader


def check_calls(reader: ToolCallReader) -> None:
    """Each function's `$ref` finds its own definitions."""
    assert reader.complete
    for call in reader.calls:
        arguments: dict[str, Any] = json.loads(call.arguments)
        assert arguments.keys() == {"city", "unit"}
        assert isinstance(arguments["unit"], str if call.name == "get_city" else int)


@pytest.mark.parametrize("parallel", [False, True])
async def test_required_writes_calls_and_nothing_else(
    compiler: GrammarCompiler, tokenizer: Tokenizer, parallel: bool
) -> None:
    structure = Structure(functions=FUNCTIONS, must_call=True, parallel_calls=parallel)
    grammar = await compiler.compile(structure)
    counts = set()
    for seed in range(12):
        guide = grammar.guide()
        reader = read(text_of(tokenizer, write_at_random(guide, 400, random.Random(seed))))
        assert not reader.content
        check_calls(reader)
        counts.add(len(reader.calls))
    assert counts == {1} if not parallel else max(counts) > 1
    assert max(counts) <= MAX_CALLS


async def test_auto_leaves_text_free_until_the_tag_stands(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    grammar = await compiler.compile(Structure(functions=FUNCTIONS))
    guide = grammar.guide()
    begun = tokenizer.encode("If a < b: I will look.\n<tool")
    assert guide.accept(begun) == len(begun)
    assert len(allowed_ids(guide.mask())) > 40_000
    tag = tokenizer.encode("_call>")
    assert guide.accept(tag) == len(tag)
    assert len(allowed_ids(guide.mask())) < 10
    tokens = write_at_random(guide, 100, random.Random(3))
    reader = read(text_of(tokenizer, begun + tag + tokens))
    assert reader.content == "If a < b: I will look.\n"
    check_calls(reader)


async def test_auto_may_end_without_a_call(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    guide = (await compiler.compile(Structure(functions=FUNCTIONS))).guide()
    text = tokenizer.encode("No need for a tool.")
    assert guide.accept(text) == len(text)
    assert tokenizer.eos_ids <= set(allowed_ids(guide.mask()))


async def test_text_at_its_limit_is_not_closed(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    guide = (await compiler.compile(Structure(functions=FUNCTIONS))).guide()
    (word,) = tokenizer.encode(" word")
    for left in range(6, 0, -1):
        assert guide.choose(word, left) == word


async def test_a_call_or_an_answer_of_a_schema(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    answer = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    grammar = await compiler.compile(Structure(answer=answer, functions=FUNCTIONS))
    for text, fits in (('{"n": 3', True), ("<tool_call>", True), ("Hello", False)):
        guide = grammar.guide()
        tokens = tokenizer.encode(text)
        assert (guide.accept(tokens) == len(tokens)) == fits
