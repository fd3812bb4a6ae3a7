"""A guide allows what the grammar allows, can go back, and closes an answer before its limit."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from backend_engine.structured.compiler import GrammarCompiler
from backend_engine.structured.grammar import Structure
from backend_engine.structured.guide import Guide
from backend_engine.structured.vocabulary import Vocabulary
from backend_engine.tokenizer import Tokenizer
from tests.backend_engine.support.guided import allowed_ids, text_of, write_at_random

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TEXT = '{"name": "Ada", "age": 36}'


@pytest.fixture
async def guide(compiler: GrammarCompiler) -> Guide:
    return (await compiler.compile(Structure(answer=SCHEMA))).guide()


def test_every_token_of_a_valid_text_is_allowed_and_its_end_is_known(
    guide: Guide, tokenizer: Tokenizer
) -> None:
    for token in tokenizer.encode(TEXT):
        assert not guide.is_complete
        assert token in allowed_ids(guide.mask())
        assert guide.accept([token]) == 1
    assert guide.is_complete
    assert set(allowed_ids(guide.mask())) == tokenizer.eos_ids


def test_accept_stops_at_the_first_token_outside_the_grammar(guide: Guide, tokenizer: Tokenizer) -> None:
    good, bad = tokenizer.encode('{"name": "A"'), tokenizer.encode("}")
    assert guide.accept(good + bad) == len(good)
    assert guide.accepted == good
    assert not guide.error
    assert guide.accept(tokenizer.encode(', "age": 1}')) > 0
    assert guide.is_complete


def test_a_draft_is_allowed_up_to_where_it_leaves_the_grammar(guide: Guide, tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(TEXT)
    guide.accept(tokens[:2])
    before = guide.mask()
    assert guide.num_allowed([*tokens[2:7], *tokenizer.encode("}"), *tokens[7:]]) == 5
    assert guide.num_allowed(tokens[2:]) == len(tokens) - 2
    assert guide.num_allowed([]) == 0
    assert np.array_equal(guide.mask(), before), "looking ahead moves nothing"
    assert guide.accepted == tokens[:2]


@pytest.mark.parametrize("seed", range(12))
async def test_an_answer_is_closed_before_its_limit(
    compiler: GrammarCompiler, tokenizer: Tokenizer, seed: int
) -> None:
    """Random text would run on for ever: any limit that the shortest answer fits in suffices."""
    guide = (await compiler.compile(Structure(answer=SCHEMA))).guide()
    tokens = write_at_random(guide, 12 + 4 * seed, random.Random(seed))
    assert guide.is_complete
    assert json.loads(text_of(tokenizer, tokens)).keys() == {"name", "age"}


async def test_a_limit_that_nothing_fits_in_cuts_the_answer(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    guide = (await compiler.compile(Structure(answer=SCHEMA))).guide()
    assert len(write_at_random(guide, 5, random.Random(0))) == 5
    assert not guide.is_complete
    assert not guide.error


async def test_guides_of_one_grammar_do_not_meet(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    grammar = await compiler.compile(Structure(answer=SCHEMA))
    first, second = grammar.guide(), grammar.guide()
    first.accept(tokenizer.encode(TEXT))
    assert first.is_complete
    assert not second.is_complete
    assert second.accept(tokenizer.encode(TEXT)) == len(tokenizer.encode(TEXT))


async def test_a_grammar_that_outgrows_the_library_says_so(
    compiler: GrammarCompiler, vocabulary: Vocabulary
) -> None:
    schema = {"type": "string", "pattern": "^(.*a){12}.{300}b(.*c){12}$"}
    guide = (await compiler.compile(Structure(answer=schema))).guide()
    chance = random.Random(1)
    for _ in range(400):
        allowed = allowed_ids(guide.mask())
        if guide.error:
            assert set(allowed) <= set(vocabulary.end_ids), "the sequence is led to its end"
            return
        guide.accept([chance.choice(allowed)])
    pytest.fail("the library copes with this pattern: the test needs a harder one")
