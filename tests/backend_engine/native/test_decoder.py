"""The native decoder computes what the torch decoder computes, and the same bits in any company."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from backend_engine.assemble import linear_format
from backend_engine.batch import ForwardBatch
from backend_engine.kv.dtype import KVDtype
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.models.llama import build_model
from backend_engine.native.build import supported_sets
from backend_engine.native.decoder import NativeDecoder, unsupported_by_native
from backend_engine.native.library import Library, Team
from backend_engine.native.pages import NativePages
from tests.backend_engine.support.dense_attention import prompt_logits
from tests.backend_engine.support.tiny_models import LLAMA3_ROPE, random_model, save_directory

BLOCKS, BLOCK = 80, 16
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama with groups of 3": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama with a head for each": ("llama", {"num_key_value_heads": 6, "head_dim": 32}),
    "qwen2 with groups of 6": ("qwen2", {"num_key_value_heads": 1}),
    "qwen3 with a tied head": ("qwen3", {"head_dim": 48, "tie_word_embeddings": True}),
}
BEST = supported_sets()[0]


class Sequences:
    """Prompts on their way through a decoder, with scattered blocks."""

    def __init__(
        self, directory: Path, prompts: list[list[int]], variant: str, dtype: KVDtype, threads: int
    ) -> None:
        checkpoint = load_checkpoint(directory)
        team = Team(Library(variant), threads)
        model = build_model(checkpoint, linear_format("int8", team))
        self._decoder = NativeDecoder(model, NativePages(checkpoint.config, BLOCKS, BLOCK, dtype), team)
        free = list(range(BLOCKS))
        random.Random(3).shuffle(free)
        self._prompts = prompts
        self._blocks = [[free.pop() for _ in range(-(-len(prompt) // BLOCK))] for prompt in prompts]
        self.logits = [torch.empty(0)] * len(prompts)

    @property
    def pending(self) -> list[int]:
        return [at for at, prompt in enumerate(self._prompts) if len(self.logits[at]) < len(prompt)]

    def left(self, at: int) -> int:
        return len(self._prompts[at]) - len(self.logits[at])

    def step(self, work: list[tuple[int, int]]) -> None:
        """Compute the next tokens of each (sequence, count), and keep their logits."""
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        starts = [0]
        contexts = []
        for at, count in work:
            new = range(len(self.logits[at]), len(self.logits[at]) + count)
            token_ids += self._prompts[at][new.start : new.stop]
            positions += new
            slots += [self._blocks[at][p // BLOCK] * BLOCK + p % BLOCK for p in new]
            starts.append(len(token_ids))
            contexts.append(new.stop)
        widest = max(len(self._blocks[at]) for at, _ in work)
        tables = [self._blocks[at] + [0] * (widest - len(self._blocks[at])) for at, _ in work]
        logits = self._decoder.forward(
            ForwardBatch(
                token_ids=torch.tensor(token_ids),
                positions=torch.tensor(positions),
                slots=torch.tensor(slots),
                query_starts=tuple(starts),
                context_lengths=tuple(contexts),
                block_tables=torch.tensor(tables),
                logit_rows=torch.arange(len(token_ids)),
            )
        )
        for (at, _), rows in zip(work, torch.split(logits, [count for _, count in work]), strict=True):
            self.logits[at] = torch.cat((self.logits[at], rows))

    def run_in_pieces(self, chance: random.Random) -> None:
        while pending := self.pending:
            chosen = chance.sample(pending, chance.randrange(1, len(pending) + 1))
            self.step([(at, min(chance.choice([1, 1, 2, 7, 40]), self.left(at))) for at in chosen])


def random_prompts() -> list[list[int]]:
    chance = random.Random(5)
    return [[chance.randrange(700) for _ in range(length)] for length in (1, 17, 64, 65, 130)]


@pytest.fixture(scope="module", params=VARIANTS)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model_type, changes = VARIANTS[request.param]
    return save_directory(random_model(model_type, **changes), tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(("dtype", "most"), [("fp32", 0.01), ("fp16", 0.04), ("int8", 0.1)])
def test_logits_are_those_of_the_torch_decoder(directory: Path, dtype: KVDtype, most: float) -> None:
    prompts = random_prompts()
    native = Sequences(directory, prompts, BEST, dtype, threads=2)
    native.run_in_pieces(random.Random(1))
    reference = build_model(load_checkpoint(directory), linear_format("int8", None))
    expected = prompt_logits(reference, *prompts)
    assert (torch.cat(native.logits) - expected).norm() / expected.norm() < most


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_logits_are_bitwise_the_same_in_any_company_chunks_and_threads(
    directory: Path, dtype: KVDtype
) -> None:
    prompts = random_prompts()
    whole = Sequences(directory, prompts, BEST, dtype, threads=1)
    for at, prompt in enumerate(prompts):
        whole.step([(at, len(prompt))])
    for seed in range(4):
        pieces = Sequences(directory, prompts, BEST, dtype, threads=1 + seed % 3)
        pieces.run_in_pieces(random.Random(seed))
        for one, other in zip(whole.logits, pieces.logits, strict=True):
            assert torch.equal(one, other)


@pytest.fixture(scope="module")
def long_context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_model("llama", max_position_embeddings=1024)
    return save_directory(model, tmp_path_factory.mktemp("model"))


def long_prompts() -> list[list[int]]:
    """Contexts that end within, at and just behind the attention's splits of 256 positions."""
    chance = random.Random(6)
    return [[chance.randrange(700) for _ in range(length)] for length in (256, 257, 600)]


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_contexts_shared_out_over_threads_give_the_same_bits(long_context: Path, dtype: KVDtype) -> None:
    prompts = long_prompts()
    whole = Sequences(long_context, prompts, BEST, dtype, threads=1)
    for at, prompt in enumerate(prompts):
        whole.step([(at, len(prompt))])
    reference = build_model(load_checkpoint(long_context), linear_format("int8", None))
    expected = prompt_logits(reference, *prompts)
    assert (torch.cat(whole.logits) - expected).norm() / expected.norm() < 0.1
    for seed in range(2):
        # A single sequence has too few pieces of attention for three threads.
        shared = Sequences(long_context, prompts, BEST, dtype, threads=3)
        shared.run_in_pieces(random.Random(seed))
        for one, other in zip(whole.logits, shared.logits, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("variant", supported_sets()[1:])
def test_all_instruction_sets_give_the_same_bits_over_several_splits(
    long_context: Path, variant: str
) -> None:
    prompts = long_prompts()
    best, other = (Sequences(long_context, prompts, name, "fp16", threads=2) for name in (BEST, variant))
    best.run_in_pieces(random.Random(1))
    other.run_in_pieces(random.Random(2))
    assert torch.equal(torch.cat(best.logits), torch.cat(other.logits))


@pytest.mark.parametrize("variant", supported_sets()[1:])
def test_all_instruction_sets_give_the_same_bits(directory: Path, variant: str) -> None:
    prompts = random_prompts()
    best, other = (Sequences(directory, prompts, name, "fp16", threads=2) for name in (BEST, variant))
    best.run_in_pieces(random.Random(1))
    other.run_in_pieces(random.Random(2))
    assert torch.equal(torch.cat(best.logits), torch.cat(other.logits))


@pytest.mark.parametrize(
    ("changes", "block_size", "reason"),
    [
        ({}, 16, None),
        ({}, 8, "block_size"),
        ({"head_dim": 24}, 16, "head_dim"),
        ({"intermediate_size": 40}, 16, "40"),
    ],
)
def test_what_it_cannot_run_is_said(
    changes: dict[str, int], block_size: int, reason: str | None, tmp_path: Path
) -> None:
    config = load_checkpoint(save_directory(random_model("llama", **changes), tmp_path)).config
    said = unsupported_by_native(config, block_size)
    assert said is None if reason is None else reason in str(said)
