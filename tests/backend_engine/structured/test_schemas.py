"""Texts drawn at random under a schema's masks satisfy it, as an independent validator sees it."""

from __future__ import annotations

import json
import random

import jsonschema
import pytest

from backend_engine.structured.compiler import GrammarCompiler
from backend_engine.structured.grammar import Structure
from backend_engine.tokenizer import Tokenizer
from tests.backend_engine.support.guided import text_of, write_at_random
from tests.backend_engine.support.schemas import random_schema

NUM_SCHEMAS = 200


def check(seed: int, text: str) -> None:
    """Fail unless `text` is JSON that satisfies schema number `seed`, formats included."""
    schema = random_schema(seed)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(json.loads(text))


async def write(seed: int, compiler: GrammarCompiler, tokenizer: Tokenizer, max_tokens: int) -> str:
    guide = (await compiler.compile(Structure(answer=random_schema(seed)))).guide()
    tokens = write_at_random(guide, max_tokens, random.Random(seed))
    assert guide.is_complete, f"schema {seed} was cut: {guide.error}"
    return text_of(tokenizer, tokens)


@pytest.mark.parametrize("seed", range(12))
async def test_random_text_satisfies_its_schema(
    compiler: GrammarCompiler, tokenizer: Tokenizer, seed: int
) -> None:
    check(seed, await write(seed, compiler, tokenizer, 400))


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_random_text_satisfies_200_schemas(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    for seed in range(NUM_SCHEMAS):
        for max_tokens in (170, 400):
            check(seed, await write(seed, compiler, tokenizer, max_tokens))
