"""The quantised path gives the same bits whatever a request shares its steps with.

Each token's logits are hashed as the engine sees them. They are compared between a request alone and the same
request batched, in chunks, behind prefix hits, preempted, among aborted neighbours, on other thread counts.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend_engine.assemble import LoadedModel, build_decoder, build_engine, load_model
from backend_engine.engine import Engine
from backend_engine.kv.dtype import KVDtype
from backend_engine.kv.events import KvEventLog
from backend_engine.launcher import EngineOptions
from backend_engine.native.decoder import NativeDecoder
from backend_engine.request import Request
from backend_engine.runner import Computed, Runner
from backend_engine.scheduler import Scheduled
from tests.backend_engine.support.generate import make_request
from tests.backend_engine.support.prompts import natural_prompts

Digests = list[bytes]


@dataclass(frozen=True)
class Condition:
    """What surrounds the requests of one run."""

    max_batch_tokens: int = 512
    max_sequences: int = 64
    kv_memory_mb: int = 512
    prefix_cache: bool = False
    doomed: int = 0
    """Neighbours that are aborted half way."""

    @classmethod
    def random(cls, chance: random.Random, kv_memory_mb: Sequence[int]) -> Condition:
        return cls(
            max_batch_tokens=chance.choice([7, 40, 130, 512]),
            max_sequences=chance.choice([3, 16, 64]),
            kv_memory_mb=chance.choice(kv_memory_mb),
            prefix_cache=chance.random() < 0.5,
            doomed=chance.choice([0, 3]),
        )


class RecordingRunner(Runner):
    """Hashes the logits from which each token is chosen."""

    def __init__(self, decoder: NativeDecoder) -> None:
        super().__init__(decoder)
        self.digests: dict[Request, Digests] = {}

    def run(self, step: Sequence[Scheduled]) -> Computed:
        computed = super().run(step)
        ended = [item.request for item in step if item.reaches_end]
        for request, row in zip(ended, computed.logits, strict=True):
            digest = hashlib.blake2b(row.numpy().tobytes(), digest_size=8).digest()
            self.digests.setdefault(request, []).append(digest)
        return computed


def run(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    lengths: Sequence[int],
    condition: Condition,
    chance: random.Random,
    kv_dtype: KVDtype,
) -> tuple[list[Digests], Engine]:
    """Generate `lengths[i]` tokens for each prompt, arriving by chance; returns their logits' hashes."""
    options = EngineOptions(
        model="",
        max_batch_tokens=condition.max_batch_tokens,
        max_sequences=condition.max_sequences,
        kv_memory_mb=condition.kv_memory_mb,
        prefix_cache=condition.prefix_cache,
        kv_dtype=kv_dtype,
    )
    engine = build_engine(loaded, options)
    decoder = build_decoder(loaded, options, engine.scheduler.pool.num_blocks)
    assert isinstance(decoder, NativeDecoder)
    recorder = RecordingRunner(decoder)
    engine = Engine(recorder, engine.scheduler, (), kv_events=KvEventLog())
    requests = [
        make_request(prompt, max_tokens=length) for prompt, length in zip(prompts, lengths, strict=True)
    ]
    doomed = [make_request(chance.choice(prompts), max_tokens=60) for _ in range(condition.doomed)]
    arrivals = [*requests, *doomed]
    chance.shuffle(arrivals)
    while arrivals or engine.has_work:
        for _ in range(min(len(arrivals), chance.choice([0, 1, 4]))):
            engine.add(arrivals.pop())
        engine.step()
        for request in doomed:
            if request not in arrivals and chance.random() < 0.1:
                engine.abort(request)
    assert engine.stats().num_blocks_used == 0
    return [recorder.digests[request] for request in requests], engine


@pytest.fixture(scope="module", params=[1, 2])
def loaded(request: pytest.FixtureRequest, smollm2_path: Path) -> LoadedModel:
    return load_model(str(smollm2_path), "auto", threads=request.param)


@pytest.fixture(scope="module")
def prompts(loaded: LoadedModel) -> list[list[int]]:
    assert loaded.chat_template is not None
    rendered = [
        loaded.chat_template.render([{"role": "user", "content": text}]) for text in natural_prompts()
    ]
    return [loaded.tokenizer.encode(text) for text in rendered]


_expected: dict[tuple[KVDtype, int], list[Digests]] = {}


@pytest.mark.parametrize("kv_dtype", ["fp16", "int8"])
def test_a_few_prompts_in_any_company(
    loaded: LoadedModel, prompts: list[list[int]], kv_dtype: KVDtype
) -> None:
    chosen, lengths = prompts[::9], [24] * len(prompts[::9])
    chance = random.Random(4)
    # On one thread and alone the first time; what other threads and company give must equal it.
    expected = _expected.get((kv_dtype, 24))
    if expected is None:
        alone = Condition(max_sequences=1)
        expected, _ = run(loaded, chosen, lengths, alone, chance, kv_dtype)
        _expected[kv_dtype, 24] = expected
    crowded = Condition(max_batch_tokens=37, kv_memory_mb=4, prefix_cache=True, doomed=3)
    found, engine = run(loaded, chosen, lengths, crowded, chance, kv_dtype)
    assert engine.stats().num_preemptions > 0
    assert engine.stats().prefix_hits > 0
    assert found == expected
    assert run(loaded, chosen, lengths, Condition(), chance, kv_dtype)[0] == expected


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_two_hundred_prompts_of_256_tokens_in_any_company(
    loaded: LoadedModel, prompts: list[list[int]]
) -> None:
    chance = random.Random(11)
    # Endings of different lengths make 200 prompts of 56.
    many = [
        [*prompt, *chance.sample(range(1000, 40_000), chance.randrange(90))] for prompt in (prompts * 4)[:200]
    ]
    lengths = [256] * len(many)
    expected = _expected.get(("fp16", 256))
    if expected is None:
        expected, _ = run(loaded, many, lengths, Condition(), chance, "fp16")
        _expected["fp16", 256] = expected
    condition = Condition.random(chance, kv_memory_mb=(40, 120, 512))
    found, engine = run(loaded, many, lengths, condition, chance, "fp16")
    stats = engine.stats()
    print(f"{condition}: {stats.num_preemptions} preemptions, {stats.prefix_hits} tokens of prefix hits")
    assert found == expected
