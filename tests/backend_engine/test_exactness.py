"""Greedy text in fp32 is transformers' text, however the work is batched, chunked, shared or interrupted.

A difference is allowed only where the reference itself is undecided: its two best logits are less than
1e-3 apart there. Such ties are counted and bounded, since a matrix product may round differently in
another shape.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from backend_engine.assemble import LoadedModel, build_engine, load_model
from backend_engine.engine import Engine
from backend_engine.launcher import EngineOptions
from backend_engine.warm_up import warm_up
from tests.backend_engine.support.generate import (
    generate,
    generate_among_aborts,
    make_request,
    run_to_end,
)
from tests.backend_engine.support.prompts import natural_prompts

TIE = 1e-3


@pytest.fixture(scope="module")
def fp32(smollm2_path: Path) -> LoadedModel:
    return load_model(str(smollm2_path), "none", threads=1)


@pytest.fixture(scope="module")
def prompts(fp32: LoadedModel) -> list[list[int]]:
    assert fp32.chat_template is not None
    rendered = [fp32.chat_template.render([{"role": "user", "content": text}]) for text in natural_prompts()]
    return [fp32.tokenizer.encode(text) for text in rendered]


def make_engine(loaded: LoadedModel, path: Path, **options: Any) -> Engine:
    return build_engine(loaded, EngineOptions(model=str(path), kv_dtype="fp32", **options))


@dataclass
class Reference:
    """Teacher-forced transformers: at each position, its best token and the margin to the next."""

    model: Any
    ties: int = 0
    _margins: dict[tuple[int, ...], float] = field(default_factory=dict)

    @torch.inference_mode()
    def check(self, prompt: list[int], output: list[int]) -> None:
        """Fail unless every token of `output` is the reference's choice, given those before it."""
        logits = self.model(torch.tensor([prompt + output])).logits[0, len(prompt) - 1 : -1]
        best = logits.topk(2, dim=-1)
        for at, token in enumerate(output):
            if token != best.indices[at, 0]:
                margin = float(best.values[at, 0] - best.values[at, 1])
                assert margin < TIE, f"token {at}: {token} instead of {best.indices[at, 0]}, margin {margin}"
                self.ties += 1

    def same(self, prompt: list[int], ours: list[int], other: list[int]) -> None:
        """Fail unless two outputs are equal up to a place where the reference is undecided."""
        for at, (a, b) in enumerate(zip(ours, other, strict=True)):
            if a != b:
                margin = self._margin(prompt + ours[:at])
                assert margin < TIE, f"token {at}: {a} against {b}, margin {margin}"
                self.ties += 1
                return

    @torch.inference_mode()
    def _margin(self, context: list[int]) -> float:
        key = tuple(context)
        if key not in self._margins:
            best = self.model(torch.tensor([context])).logits[0, -1].topk(2)
            self._margins[key] = float(best.values[0] - best.values[1])
        return self._margins[key]


@pytest.fixture(scope="module")
def reference(smollm2_path: Path) -> Iterator[Reference]:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        str(smollm2_path.parent), gguf_file=smollm2_path.name, dtype=torch.float32, local_files_only=True
    )
    yield Reference(model.eval())


Condition = Callable[[LoadedModel, Path, list[list[int]], int, random.Random], list[list[int]]]


def alone(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    engine = make_engine(loaded, path, prefix_cache=False)
    return [generate(engine, [prompt], max_tokens=tokens)[0] for prompt in prompts]


def small_chunks(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    budget = chance.randrange(5, 40)
    return generate(make_engine(loaded, path, max_batch_tokens=budget), prompts, max_tokens=tokens)


def few_at_a_time(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    engine = make_engine(loaded, path, max_sequences=chance.randrange(2, 7))
    return generate(engine, prompts, max_tokens=tokens)


def prefix_hits(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    engine = make_engine(loaded, path)
    generate(engine, prompts, max_tokens=chance.randrange(1, tokens))
    outputs = generate(engine, prompts, max_tokens=tokens)
    assert engine.stats().prefix_hits > len(prompts) * 16
    return outputs


def preemption(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    # Room for two or three sequences, so that their growth throws the newest out again and again.
    engine = make_engine(loaded, path, kv_memory_mb=14, prefix_cache=chance.random() < 0.5)
    outputs = generate(engine, prompts, max_tokens=tokens)
    assert engine.stats().num_preemptions > 0
    return outputs


def aborted_neighbours(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    engine = make_engine(loaded, path, max_batch_tokens=chance.randrange(20, 200))
    return generate_among_aborts(engine, prompts, chance, max_tokens=tokens)


def reordered(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    """Random priorities and arrivals under pressure, so that order and preemption cross."""
    engine = make_engine(loaded, path, kv_memory_mb=14, max_sequences=chance.randrange(2, 7))
    requests = [
        make_request(prompt, priority=chance.randrange(-9, 9), max_tokens=tokens) for prompt in prompts
    ]
    for request in requests:
        engine.add(request)
        for _ in range(chance.choice([0, 0, 1, 4])):
            engine.step()
    run_to_end(engine)
    return [request.output_ids for request in requests]


def chunks_by_time(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    """Prompts join decoding sequences, in chunks as small as measured times make them."""
    engine = make_engine(loaded, path, max_decode_stretch=1.1)
    warm_up(engine)
    requests = [make_request(prompt, max_tokens=tokens) for prompt in prompts]
    for request in requests:
        engine.add(request)
        engine.step()
    run_to_end(engine)
    assert max(request.num_prefill_chunks for request in requests) > 1
    return [request.output_ids for request in requests]


def second_tier(
    loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int, chance: random.Random
) -> list[list[int]]:
    """Prefixes come back from memory into a pool that is too small for them."""
    engine = make_engine(loaded, path, kv_memory_mb=14, max_sequences=2, prefix_cache_ram_mb=400)
    generate(engine, prompts, max_tokens=2)
    found = engine.stats().prefix_hits
    outputs = generate(engine, prompts, max_tokens=tokens)
    assert engine.stats().prefix_hits - found > len(prompts) * 16
    return outputs


CONDITIONS = [
    alone,
    small_chunks,
    few_at_a_time,
    prefix_hits,
    preemption,
    aborted_neighbours,
    reordered,
    chunks_by_time,
    second_tier,
]


_base: dict[tuple[int, int], list[list[int]]] = {}


def base_outputs(loaded: LoadedModel, path: Path, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    """Return what all prompts give in one batch: computed once, and what all conditions are held to."""
    key = (len(prompts), tokens)
    if key not in _base:
        _base[key] = generate(make_engine(loaded, path), prompts, max_tokens=tokens)
    return _base[key]


def check_condition(
    condition: Condition,
    fp32: LoadedModel,
    path: Path,
    prompts: list[list[int]],
    reference: Reference,
    *,
    tokens: int,
    seed: int,
) -> None:
    base = base_outputs(fp32, path, prompts, tokens)
    outputs = condition(fp32, path, prompts, tokens, random.Random(seed))
    reference.ties = 0
    for prompt, ours, other in zip(prompts, base, outputs, strict=True):
        reference.same(prompt, ours, other)
    assert reference.ties <= len(prompts) // 10, "ties are rare; so many mean a real difference"


def test_a_few_prompts_equal_transformers(
    fp32: LoadedModel, smollm2_path: Path, prompts: list[list[int]], reference: Reference
) -> None:
    chosen = prompts[::9]
    outputs = generate(make_engine(fp32, smollm2_path), chosen, max_tokens=24)
    for prompt, output in zip(chosen, outputs, strict=True):
        reference.check(prompt, output)


@pytest.mark.parametrize("condition", [small_chunks, prefix_hits, preemption, second_tier])
def test_a_few_prompts_under_the_hardest_conditions(
    condition: Condition,
    fp32: LoadedModel,
    smollm2_path: Path,
    prompts: list[list[int]],
    reference: Reference,
) -> None:
    check_condition(condition, fp32, smollm2_path, prompts[::10], reference, tokens=32, seed=1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_all_prompts_equal_transformers(
    fp32: LoadedModel, smollm2_path: Path, prompts: list[list[int]], reference: Reference
) -> None:
    outputs = base_outputs(fp32, smollm2_path, prompts, 64)
    for prompt, output in zip(prompts, outputs, strict=True):
        reference.check(prompt, output)
    print(f"{len(prompts)} prompts x 64 tokens: {reference.ties} ties")
    assert reference.ties <= 5


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_many_prompts_under_each_condition(
    condition: Condition,
    fp32: LoadedModel,
    smollm2_path: Path,
    prompts: list[list[int]],
    reference: Reference,
) -> None:
    """A sixth of the prompts: `test_bitwise` holds the kernels to far more, this the torch path in fp32."""
    chosen = prompts[1::6]
    check_condition(condition, fp32, smollm2_path, chosen, reference, tokens=64, seed=2)
    print(f"{condition.__name__}: {reference.ties} ties in {len(chosen)} x 64 tokens")
