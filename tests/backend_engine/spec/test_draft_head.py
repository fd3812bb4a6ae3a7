"""A draft head drafts in one native call what its torch module says, for each row whatever the others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from backend_engine.assemble import HEADS, LoadedModel, build_engine, find_draft_head, load_model
from backend_engine.errors import ModelError
from backend_engine.launcher import EngineOptions
from backend_engine.native.draft_head import NativeDraftHead
from backend_engine.quant.blocks import round_to_four_bits
from backend_engine.spec.base import Want
from backend_engine.spec.distil.export import restore
from backend_engine.spec.draft_head import LEAST_CONFIDENCE, MOST_ROWS, HeadDrafter
from backend_engine.spec.draft_weights import LINEARS, DraftWeights
from tests.backend_engine.support.drafting import sequence_of
from tests.backend_engine.support.generate import generate
from tests.backend_engine.support.tiny_models import random_model, save_directory

DEPTH = 4


@pytest.fixture(scope="module")
def loaded(smollm2_path: Path) -> LoadedModel:
    loaded = load_model(str(smollm2_path), "auto", threads=2)
    if loaded.team is None:
        pytest.skip("draft heads run on native kernels, and there is no compiler")
    return loaded


@pytest.fixture(scope="module")
def weights() -> DraftWeights:
    return DraftWeights.load(HEADS / "smollm2-135m-instruct.safetensors")


@pytest.fixture(scope="module")
def head(loaded: LoadedModel, weights: DraftWeights) -> NativeDraftHead:
    assert loaded.team is not None
    return NativeDraftHead(weights, loaded.model, loaded.team)


def rows(weights: DraftWeights, count: int) -> tuple[torch.Tensor, list[int]]:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(count, len(weights.taps), weights.hidden, generator=generator)
    return features, torch.randint(20, 49_000, (count,), generator=generator).tolist()


def test_drafts_are_those_of_the_trained_module(
    loaded: LoadedModel, weights: DraftWeights, head: NativeDraftHead
) -> None:
    features, last = rows(weights, 12)
    drafts = head.draft(features, last, [DEPTH] * 12, 0.0)
    module = restore(weights).eval()
    with torch.no_grad():
        for name in LINEARS:
            matrix = getattr(module, name).weight
            matrix.copy_(round_to_four_bits(matrix).dequantize())
    table, tokens = loaded.model.embedding, torch.tensor(last)
    scores = round_to_four_bits(table.rows(weights.vocabulary)).dequantize()
    choice = torch.stack([torch.tensor(tokens_of) for tokens_of, _ in drafts])
    with torch.no_grad():
        state = module.begin(features)
        for at in range(DEPTH):
            state, read = module.step(state, table.rows(tokens))
            shares = F.linear(read, scores).softmax(-1)
            # Where two tokens are nearly as likely, rounded activations may choose the other one.
            tokens = choice[:, at].contiguous()
            chosen = shares.gather(1, torch.searchsorted(weights.vocabulary, tokens).unsqueeze(1)).squeeze(1)
            said = torch.tensor([of[at] for _, of in drafts])
            torch.testing.assert_close(chosen, said, atol=0.03, rtol=0.1)
            assert (shares.amax(-1) - chosen < 0.05).all()


def test_a_draft_is_the_same_alone_and_among_others(weights: DraftWeights, head: NativeDraftHead) -> None:
    features, last = rows(weights, 9)
    limits = [1 + at % DEPTH for at in range(9)]
    together = head.draft(features, last, limits, 0.02)
    alone = [
        head.draft(features[at : at + 1], last[at : at + 1], limits[at : at + 1], 0.02)[0] for at in range(9)
    ]
    assert together == alone


def test_a_draft_ends_at_its_limit_or_where_all_of_it_becomes_unlikely(
    weights: DraftWeights, head: NativeDraftHead
) -> None:
    features, last = rows(weights, 9)
    longest = head.draft(features, last, [DEPTH] * 9, 0.0)
    assert [len(tokens) for tokens, _ in longest] == [DEPTH] * 9
    for (whole, shares), (tokens, _) in zip(
        longest, head.draft(features, last, [DEPTH] * 9, 0.05), strict=True
    ):
        sure = [at + 1 for at in range(DEPTH) if math.prod(shares[: at + 1]) >= 0.05]
        assert tokens == whole[: len(sure)]
    short = head.draft(features, last, [2] * 9, 0.0)
    assert [tokens for tokens, _ in short] == [tokens[:2] for tokens, _ in longest]


class Scripted:
    """A head that drafts a token's successors, and keeps what it was asked."""

    taps = (1,)

    def __init__(self) -> None:
        self.seen: list[float] = []

    def draft(
        self, features: torch.Tensor, last_tokens: list[int], limits: list[int], least_confidence: float
    ) -> list[tuple[list[int], list[float]]]:
        assert least_confidence == LEAST_CONFIDENCE
        self.seen += features[:, 0, 0].tolist()
        return [
            ([token + 1] * limit, [0.5] * limit) for token, limit in zip(last_tokens, limits, strict=True)
        ]


def test_each_sequence_is_drafted_for_from_its_latest_features() -> None:
    scripted = Scripted()
    drafter = HeadDrafter(scripted)
    one, other = sequence_of([1], [5]), sequence_of([1], [8])
    drafter.see([one, other], torch.tensor([[[1.0]], [[2.0]]]))
    drafter.see([other], torch.tensor([[[3.0]]]))
    drafts = [draft for [draft] in drafter.propose([Want(other, 2), Want(one, 1)])]
    assert scripted.seen == [3.0, 1.0]
    assert [draft.token_ids for draft in drafts] == [(9, 9), (6,)]
    assert drafts[0].shares == (0.5, 0.5)
    for request in (one, other, sequence_of([3])):
        drafter.finished(request)
    assert not drafter._features


def test_a_full_batch_is_left_alone() -> None:
    drafter, requests = HeadDrafter(Scripted()), [sequence_of([1], [5]) for _ in range(MOST_ROWS + 1)]
    drafter.see(requests, torch.zeros(len(requests), 1, 1))
    assert all(drafter.propose([Want(request, 2) for request in requests[1:]]))
    assert not any(drafter.propose([Want(request, 2) for request in requests]))


def test_the_engine_drafts_with_the_bundled_head(loaded: LoadedModel) -> None:
    assert loaded.chat_template is not None
    texts = ("Why is the sky blue?", "Tell me about the history of tea.", "Write a letter to a friend.")
    prompts = [
        loaded.tokenizer.encode(loaded.chat_template.render([{"role": "user", "content": text}]))
        for text in texts
    ]
    plain = EngineOptions(model="", speculation="off", kv_memory_mb=32)
    drafting = EngineOptions(model="", speculation="auto", kv_memory_mb=32)
    engine = build_engine(loaded, drafting)
    assert generate(engine, prompts, max_tokens=48) == generate(
        build_engine(loaded, plain), prompts, max_tokens=48
    )
    stats = engine.stats().speculation
    # Far more than chance: of 49,152 tokens the right one.
    assert stats.num_accepted_tokens > 0.2 * stats.num_drafts > 0
    assert sum(stats.num_accepted_tokens_per_pos) == stats.num_accepted_tokens


def test_a_head_is_named_by_its_file(loaded: LoadedModel) -> None:
    path = str(HEADS / "smollm2-135m-instruct.safetensors")
    engine = build_engine(
        loaded, EngineOptions(model="", speculation="draft", draft_model=path, kv_memory_mb=32)
    )
    assert engine._speculator is not None
    assert engine._speculator.taps == (10, 20, 30)


@pytest.mark.parametrize("quantization", ["int8", "none"])
def test_a_head_of_another_model_is_neither_found_nor_taken(
    quantization: Literal["int8", "none"], tmp_path: Path
) -> None:
    loaded = load_model(str(save_directory(random_model("llama"), tmp_path)), quantization, threads=1)
    assert find_draft_head(loaded) is None
    path = str(HEADS / "smollm2-135m-instruct.safetensors")
    with pytest.raises(ModelError, match="another model"):
        build_engine(loaded, EngineOptions(model="", speculation="draft", draft_model=path))


def test_without_native_kernels_a_head_is_not_found_and_refused_if_named(smollm2_path: Path) -> None:
    loaded = replace(load_model(str(smollm2_path), "auto", threads=1), team=None)
    assert find_draft_head(loaded) is None
    path = str(HEADS / "smollm2-135m-instruct.safetensors")
    with pytest.raises(ModelError, match="native kernels"):
        build_engine(loaded, EngineOptions(model="", speculation="draft", draft_model=path, kv_memory_mb=32))
