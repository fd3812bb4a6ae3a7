"""Speculation changes nothing that a caller can see, whatever is drafted and whoever shares the steps.

Answers of the engine without speculation are the truth: tokens, text, finish reason and log-probabilities to
the last bit. Drafts come from the real drafters, and from one that knows the truth and spoils it by chance:
drafts of every length are accepted, rejected and cut short at every place.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backend_engine.assemble import LoadedModel, build_engine, load_model
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.logprobs import PositionLogprobs
from backend_engine.sampling.params import SamplingParams
from backend_engine.spec.base import Draft, TextDrafter, Want
from backend_engine.spec.speculator import Speculator
from backend_engine.spec.step_cost import StepCost
from backend_engine.structured.compiler import CompiledGrammar, GrammarCompiler
from backend_engine.structured.grammar import Structure
from backend_engine.structured.vocabulary import Vocabulary
from tests.backend_engine.support.prompts import natural_prompts

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "sampled": {"temperature": 0.8, "top_p": 0.9},
    "top-k and min-p": {"temperature": 1.2, "top_k": 20, "min_p": 0.05},
    "penalties": {"temperature": 0.7, "repetition_penalty": 1.3, "frequency_penalty": 0.5},
    "greedy with penalties": {"temperature": 0, "presence_penalty": 1.5},
    "bias and least length": {"temperature": 0, "logit_bias": {2: 8.0, 30: 2.0}, "min_tokens": 9},
    "stop string": {"temperature": 0, "stop": (" the", ". ")},
    "log-probabilities": {"temperature": 0.5, "logprobs": 3},
    "no end": {"temperature": 0, "ignore_eos": True},
}


@dataclass
class Answer:
    """What the caller of one request gets."""

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    logprobs: list[PositionLogprobs | None] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True)
class Ask:
    """One request, to be made as often as needed."""

    prompt: tuple[int, ...]
    settings: str
    tokens: int
    seed: int
    grammar: CompiledGrammar | None = None

    def request(self, loaded: LoadedModel) -> Request:
        params = SamplingParams(max_tokens=self.tokens, **SETTINGS[self.settings])
        return Request(
            "test",
            list(self.prompt),
            params,
            IncrementalDetokenizer(loaded.tokenizer.token_bytes, params.stop),
            guide=None if self.grammar is None else self.grammar.guide(),
            seed=self.seed,
        )


class SpoiltTruth(TextDrafter):
    """Drafts the tokens that will come, some of them replaced, more or fewer of them."""

    def __init__(self, truth: dict[tuple[int, ...], list[int]], chance: random.Random) -> None:
        self._truth = truth
        self._chance = chance

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        return [[Draft(tuple(self._continue(want.request, want.limit)), 16)] for want in wants]

    def finished(self, request: Request) -> None:
        pass

    def _continue(self, request: Request, limit: int) -> list[int]:
        key = (*request.token_ids[: request.num_prompt_tokens], request.seed)
        # Beyond the end of the answer too: what ends it must be found within a draft.
        known = self._truth.get(key, [])[request.num_output_tokens :] + [7] * 3
        draft = known[: self._chance.randrange(limit + 1)]
        if draft and self._chance.random() < 0.5:
            draft[self._chance.randrange(len(draft))] = self._chance.randrange(1000)
        return draft


class Free(StepCost):
    """Makes every draft worth its while."""

    def seconds(self, tokens: int) -> float:
        return 1.0


def answers(
    engine: Engine, loaded: LoadedModel, asks: Sequence[Ask], chance: random.Random, doomed: int = 0
) -> list[Answer]:
    """Run `asks`, arriving by chance, among `doomed` requests that are aborted half way."""
    requests = [ask.request(loaded) for ask in asks]
    found = {request: Answer() for request in requests}
    neighbours = [chance.choice(asks).request(loaded) for _ in range(doomed)]
    arrivals = [*requests, *neighbours]
    chance.shuffle(arrivals)
    while arrivals or engine.has_work:
        for _ in range(min(len(arrivals), chance.choice([0, 1, 4]))):
            engine.add(arrivals.pop())
        for output in engine.step():
            if (answer := found.get(output.request)) is not None:
                answer.tokens.append(output.token_id)
                answer.text += output.text
                answer.logprobs.append(output.logprobs)
                answer.reason = output.finish_reason
        for request in neighbours:
            if request not in arrivals and chance.random() < 0.2:
                engine.abort(request)
    engine.scheduler.check()
    assert engine.stats().num_blocks_used == 0
    return [found[request] for request in requests]


def engine_of(loaded: LoadedModel, **options: Any) -> Engine:
    return build_engine(loaded, EngineOptions(model="", **{"kv_memory_mb": 64, **options}))


def drafting(loaded: LoadedModel, truth: SpoiltTruth, **options: Any) -> Engine:
    engine = engine_of(loaded, speculation="off", **options)
    engine._speculator = Speculator(truth, max_tokens=options.get("max_batch_tokens", 512))
    engine._speculator.step_cost = Free()
    return engine


def random_conditions(chance: random.Random) -> dict[str, Any]:
    """A batch, chunks, prefix hits and, where memory is short, preemption."""
    return {
        "max_batch_tokens": chance.choice([7, 40, 512]),
        "max_sequences": chance.choice([2, 64]),
        "kv_memory_mb": chance.choice([3, 64]),
        "prefix_cache": chance.random() < 0.5,
        "max_decode_stretch": float("inf"),
    }


@pytest.fixture(scope="module")
def loaded(smollm2_path: Path) -> LoadedModel:
    loaded = load_model(str(smollm2_path), "auto", threads=2)
    if loaded.team is None:
        pytest.skip("logits to the last bit are a promise of the native kernels, and there is no compiler")
    return loaded


@pytest.fixture(scope="module")
def grammar(loaded: LoadedModel) -> CompiledGrammar:
    vocabulary = Vocabulary(loaded.tokenizer, vocab_size=loaded.config.vocab_size, end_ids=loaded.end_ids)
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "legs": {"type": "integer"}, "fast": {"type": "boolean"}},
        "required": ["name", "legs", "fast"],
        "additionalProperties": False,
    }
    return asyncio.run(GrammarCompiler(vocabulary).compile(Structure(answer=schema)))


def make_asks(loaded: LoadedModel, prompts: int, tokens: int, grammar: CompiledGrammar) -> list[Ask]:
    """Every kind of settings, and grammars, over several prompts."""
    assert loaded.chat_template is not None
    texts = natural_prompts()[:: -(-56 // prompts)]
    rendered = [loaded.chat_template.render([{"role": "user", "content": text}]) for text in texts]
    ids = [tuple(loaded.tokenizer.encode(text)) for text in rendered]
    kinds = list(SETTINGS)
    asks = [
        Ask(ids[(at + turn) % len(ids)], kinds[at % len(kinds)], tokens, seed=100 * turn + at)
        for turn in range(max(1, prompts // len(kinds)))
        for at in range(len(kinds))
    ]
    return asks + [Ask(ids[at], "greedy" if at else "sampled", tokens, at, grammar) for at in range(2)]


def truth_of(loaded: LoadedModel, asks: list[Ask]) -> tuple[list[Answer], dict[tuple[int, ...], list[int]]]:
    """What the engine says without speculation."""
    plain = engine_of(loaded, speculation="off")
    expected = answers(plain, loaded, asks, random.Random(0))
    assert plain.stats().speculation.num_drafts == 0
    return expected, {
        (*ask.prompt, ask.seed): answer.tokens for ask, answer in zip(asks, expected, strict=True)
    }


def check(loaded: LoadedModel, grammar: CompiledGrammar, prompts: int, tokens: int, seeds: int) -> None:
    asks = make_asks(loaded, prompts, tokens, grammar)
    expected, truth = truth_of(loaded, asks)
    accepted = rejected = preempted = 0
    for seed in range(seeds):
        chance = random.Random(seed)
        engine = drafting(loaded, SpoiltTruth(truth, chance), **random_conditions(chance))
        found = answers(engine, loaded, asks, chance, doomed=chance.choice([0, 3]))
        for ask, answer, plain in zip(asks, found, expected, strict=True):
            assert answer == plain, (seed, ask.settings)
        stats = engine.stats()
        accepted += stats.speculation.num_accepted_tokens
        rejected += stats.speculation.num_draft_tokens - stats.speculation.num_accepted_tokens
        preempted += stats.num_preemptions
    assert accepted > 20 * seeds and rejected > 20 * seeds
    assert preempted or seeds < 4


def test_spoilt_drafts_change_nothing(loaded: LoadedModel, grammar: CompiledGrammar) -> None:
    check(loaded, grammar, prompts=8, tokens=24, seeds=4)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_spoilt_drafts_change_nothing_in_many_conditions(
    loaded: LoadedModel, grammar: CompiledGrammar
) -> None:
    check(loaded, grammar, prompts=27, tokens=48, seeds=8)


@pytest.mark.parametrize(
    "speculation",
    ["ngram", "suffix", "auto"],
)
def test_real_drafters_change_nothing(loaded: LoadedModel, speculation: str) -> None:
    assert loaded.chat_template is not None
    text = "Repeat word for word: The harbour of Oslo was repaired in 1903, and again in 1921."
    prompt = loaded.tokenizer.encode(loaded.chat_template.render([{"role": "user", "content": text}]))
    asks = [Ask(tuple(prompt), kind, 40, seed) for seed, kind in enumerate(SETTINGS)]
    expected, _ = truth_of(loaded, asks)
    engine = engine_of(loaded, speculation=speculation)
    assert engine._speculator is not None
    # What is drafted must not depend on how busy this machine is.
    engine._speculator.step_cost = Free()
    for turn in range(2):
        assert answers(engine, loaded, asks, random.Random(turn), doomed=2) == expected
    assert engine.stats().speculation.num_accepted_tokens > 30


def test_tokens_of_an_accepted_draft_come_in_one_step_and_are_published(loaded: LoadedModel) -> None:
    ask = Ask(tuple(range(500, 540)), "no end", 40, 0)
    [answer], truth = truth_of(loaded, [ask])

    class Truth(SpoiltTruth):
        def _continue(self, request: Request, limit: int) -> list[int]:
            key = (*ask.prompt, 0)
            return self._truth[key][request.num_output_tokens :][:limit]

    engine = drafting(loaded, Truth(truth, random.Random(0)))
    request = ask.request(loaded)
    engine.add(request)
    steps = []
    while engine.has_work:
        steps.append(len(engine.step()))
    assert request.output_ids == answer.tokens
    # 40 tokens: one with the prompt, then the longest drafts and the token after each.
    assert steps == [1, 17, 17, 5]
    # A follower finds the answer's full blocks, all but the last token's, which no step computed.
    follower = Request("next", request.token_ids[:], SamplingParams(max_tokens=1), request.detokenizer)
    engine.add(follower)
    engine.step()
    assert follower.num_cached == (len(request.token_ids) - 1) // 16 * 16
