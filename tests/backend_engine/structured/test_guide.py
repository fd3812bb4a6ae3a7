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


@pytest.mark.parametrize("count", [1, 3, 8])
def test_rollback_restores_the_state(guide: Guide, tokenizer: Tokenizer, count: int) -> None:
    tokens = tokenizer.encode(TEXT)
    masks = []
    for token in tokens:
        masks.append(guide.mask())
        guide.accept([token])
    guide.rollback(count)
    assert guide.accepted == tokens[:-count]
    assert np.array_equal(guide.mask(), masks[-count])
    assert guide.accept(tokens[-count:]) == count
    assert guide.is_complete
    with pytest.raises(ValueError, match="to take back"):
        guide.rollback(len(tokens) + 1)


def test_going_to_and_fro_at_random_never_contradicts_a_mask(
    guide: Guide, tokenizer: Tokenizer, compiler: GrammarCompiler
) -> None:
    """llguidance's own rollback failed this: a mask allowed what the parser then refused."""
    chance = random.Random(2)
    for _ in range(300):
        token = chance.choice(allowed_ids(guide.mask()))
        if token in tokenizer.eos_ids:
            guide.rollback(len(guide.accepted))
            continue
        assert guide.accept([token]) == 1, guide.error
        if chance.random() < 0.4:
            guide.rollback(chance.randint(0, min(4, len(guide.accepted))))


def test_drafted_positions_see_the_drafts_before_them(guide: Guide, tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(TEXT)
    guide.accept(tokens[:2])
    before = guide.mask()
    masks = guide.draft_masks(tokens[2:7])
    assert len(masks) == 6
    assert np.array_equal(guide.mask(), before), "looking ahead moves nothing"
    for offset, mask in enumerate(masks):
        assert np.array_equal(mask, guide.mask()), offset
        guide.accept([tokens[2 + offset]])


def test_a_draft_that_leaves_the_grammar_is_cut_there(guide: Guide, tokenizer: Tokenizer) -> None:
    good = tokenizer.encode('{"name":')
    masks = guide.draft_masks([*good, *tokenizer.encode("}"), *good])
    assert len(masks) == len(good) + 1
    assert tokenizer.encode("}")[0] not in allowed_ids(masks[-1])


def test_verified_drafts_are_accepted_and_the_rest_taken_back(guide: Guide, tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(TEXT)
    guide.accept(tokens[:4])
    guide.accept(tokens[4:8])
    guide.rollback(3)
    assert guide.accepted == tokens[:5]
    assert guide.accept(tokens[5:]) == len(tokens) - 5
    assert guide.is_complete


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
    pytest.skip("this version of the library copes with the pattern")
