"""Grammars among all else that decides a token: batches, preemption, penalties, limits, stop strings."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from backend_engine.assemble import LoadedModel, build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.structured.compiler import CompiledGrammar, GrammarCompiler
from backend_engine.structured.grammar import Structure
from backend_engine.structured.vocabulary import Vocabulary
from tests.backend_engine.support.generate import run_to_end
from tests.backend_engine.support.schemas import random_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "colours": {
            "type": "array",
            "items": {"enum": ["red", "green", "blue"]},
            "minItems": 1,
            "maxItems": 9,
        },
        "size": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["name", "colours", "size"],
    "additionalProperties": False,
}
PROMPT = "Describe a bird as JSON."


@pytest.fixture(scope="module")
def loaded(smollm2_path: Path) -> LoadedModel:
    return load_model(str(smollm2_path), "int8", threads=2)


@pytest.fixture(scope="module")
def grammars(loaded: LoadedModel) -> GrammarCompiler:
    vocabulary = Vocabulary(loaded.tokenizer, vocab_size=loaded.config.vocab_size, end_ids=loaded.end_ids)
    return GrammarCompiler(vocabulary)


@pytest.fixture(scope="module")
def grammar(grammars: GrammarCompiler) -> CompiledGrammar:
    return asyncio.run(grammars.compile(Structure(answer=SCHEMA)))


def make_engine(loaded: LoadedModel, smollm2_path: Path, **options: Any) -> Engine:
    return build_engine(loaded, EngineOptions(model=str(smollm2_path), **options))


def make_request(
    loaded: LoadedModel,
    grammar: CompiledGrammar | None,
    *,
    sample: int = 0,
    prompt: str = PROMPT,
    **settings: Any,
) -> Request:
    assert loaded.chat_template is not None
    text = loaded.chat_template.render([{"role": "user", "content": prompt}])
    params = SamplingParams(**{"max_tokens": 70, "temperature": 1.0, **settings})
    return Request(
        f"r{sample}",
        loaded.tokenizer.encode(text),
        params,
        IncrementalDetokenizer(loaded.tokenizer.token_bytes, params.stop),
        guide=None if grammar is None else grammar.guide(),
        seed=5,
        sample_index=sample,
    )


def run(engine: Engine, requests: list[Request]) -> list[str]:
    """Run all requests at once and return their texts."""
    texts = dict.fromkeys(requests, "")
    for request in requests:
        engine.add(request)
    while engine.has_work:
        for output in engine.step():
            texts[output.request] += output.text
    run_to_end(engine)
    return list(texts.values())


def check(text: str, schema: dict[str, Any] = SCHEMA) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(json.loads(text))


SETTINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {"temperature": 2},
    {"top_k": 1},
    {"temperature": 1.5, "top_p": 0.3, "min_p": 0.2},
    {"presence_penalty": 2, "frequency_penalty": 2},
    {"repetition_penalty": 5.0},
    {"logit_bias": {2: 100}},
    {"logit_bias": {1: 100, 28: -100}},
    {"logprobs": 3},
    {"prompt_logprobs": 1},
    {"min_tokens": 50},
    {"ignore_eos": True},
    {"max_tokens": 20},
)


def test_no_setting_leads_out_of_the_grammar(
    loaded: LoadedModel, grammar: CompiledGrammar, smollm2_path: Path
) -> None:
    requests = [make_request(loaded, grammar, sample=at, **each) for at, each in enumerate(SETTINGS)]
    texts = run(make_engine(loaded, smollm2_path), requests)
    for text, request, settings in zip(texts, requests, SETTINGS, strict=True):
        check(text)
        assert request.finish_reason == "stop", settings
        assert request.guide is not None
        assert request.guide.accepted == request.output_ids


def test_samples_differ_and_seeds_repeat_them(
    loaded: LoadedModel, grammar: CompiledGrammar, smollm2_path: Path
) -> None:
    engine = make_engine(loaded, smollm2_path, prefix_cache=False)
    first, again = (
        run(engine, [make_request(loaded, grammar, sample=n, max_tokens=40) for n in range(2)])
        for _ in range(2)
    )
    assert first == again
    assert first[0] != first[1]


def test_free_neighbours_stay_free(loaded: LoadedModel, grammar: CompiledGrammar, smollm2_path: Path) -> None:
    engine = make_engine(loaded, smollm2_path)
    alone = run(engine, [make_request(loaded, None, temperature=0, max_tokens=24)])
    mixed = run(
        engine,
        [
            make_request(loaded, grammar),
            make_request(loaded, None, temperature=0, max_tokens=24),
            make_request(loaded, grammar, sample=1),
        ],
    )
    assert mixed[1] == alone[0]
    check(mixed[0])
    check(mixed[2])


def test_a_stop_string_still_stops(loaded: LoadedModel, grammar: CompiledGrammar, smollm2_path: Path) -> None:
    engine = make_engine(loaded, smollm2_path)
    request = make_request(loaded, grammar, stop=('"colours"',))
    (text,) = run(engine, [request])
    assert text.startswith("{")
    assert '"colours"' not in text
    assert request.finish_reason == "stop"


def test_preemption_leaves_the_grammar_where_it_was(
    loaded: LoadedModel, grammar: CompiledGrammar, smollm2_path: Path
) -> None:
    # 22.5 KiB of KV a token: about 180 tokens, where five sequences want 400.
    engine = make_engine(loaded, smollm2_path, kv_memory_mb=4, prefix_cache=False)
    requests = [make_request(loaded, grammar, sample=n, max_tokens=60, min_tokens=40) for n in range(5)]
    texts = run(engine, requests)
    assert sum(request.num_preemptions for request in requests) > 0
    for text, request in zip(texts, requests, strict=True):
        check(text)
        assert request.guide is not None
        assert request.guide.accepted == request.output_ids


def test_aborted_neighbours_do_no_harm(
    loaded: LoadedModel, grammar: CompiledGrammar, smollm2_path: Path
) -> None:
    engine = make_engine(loaded, smollm2_path)
    doomed = [make_request(loaded, grammar, sample=n) for n in (7, 8)]
    request = make_request(loaded, grammar)
    for each in (*doomed, request):
        engine.add(each)
    text = ""
    for step in range(200):
        if step == 6:
            for each in doomed:
                engine.abort(each)
        text += "".join(output.text for output in engine.step() if output.request is request)
        if not engine.has_work:
            break
    check(text)
    assert engine.stats().num_blocks_used == 0


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_model_satisfies_every_other_of_200_schemas(
    loaded: LoadedModel, grammars: GrammarCompiler, smollm2_path: Path
) -> None:
    """Truncation would be a failure: answers are complete within 192 tokens. Half of them are greedy."""
    engine = make_engine(loaded, smollm2_path)
    schemas = [random_schema(seed) for seed in range(0, 200, 2)]

    async def compile_all() -> list[CompiledGrammar]:
        return [await grammars.compile(Structure(answer=schema)) for schema in schemas]

    requests = [
        make_request(
            loaded,
            grammar,
            sample=at,
            prompt="Invent example data as JSON.",
            temperature=at % 2,
            max_tokens=192,
        )
        for at, grammar in enumerate(asyncio.run(compile_all()))
    ]
    for text, request, schema in zip(run(engine, requests), requests, schemas, strict=True):
        assert request.finish_reason == "stop", text
        check(text, schema)
