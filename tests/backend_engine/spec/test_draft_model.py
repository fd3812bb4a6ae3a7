"""A draft model keeps its own KV right through acceptance, rejection, chunks and want of room."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend_engine.assemble import LoadedModel, build_decoder, build_engine, load_model
from backend_engine.errors import ModelError
from backend_engine.kv.block_pool import BlockPool
from backend_engine.launcher import EngineOptions
from backend_engine.spec.base import Want
from backend_engine.spec.draft_model import ModelDrafter
from tests.backend_engine.support.drafting import propose, proposed, sequence_of
from tests.backend_engine.support.generate import generate
from tests.backend_engine.support.tiny_models import random_model, save_directory

PROMPT = [1000 + at * 104_729 % 3000 for at in range(70)]
OTHER = [2000 + at * 104_723 % 3000 for at in range(300)]
"""Longer than what is caught up on before one step."""


@pytest.fixture(scope="module")
def loaded(smollm2_path: Path) -> LoadedModel:
    return load_model(str(smollm2_path), "auto", threads=2)


@pytest.fixture(scope="module")
def answers(loaded: LoadedModel) -> list[list[int]]:
    """What the model itself says, greedily."""
    options = EngineOptions(model="", speculation="off", kv_memory_mb=32)
    return generate(build_engine(loaded, options), [PROMPT, OTHER], max_tokens=24)


def make_drafter(loaded: LoadedModel, num_blocks: int = 64) -> tuple[ModelDrafter, BlockPool]:
    pool = BlockPool(num_blocks, 16)
    return ModelDrafter(build_decoder(loaded, EngineOptions(model=""), num_blocks), pool), pool


@pytest.fixture(autouse=True)
def confident(monkeypatch: pytest.MonkeyPatch) -> None:
    """After random prompts no model is confident; lengths are another matter."""
    monkeypatch.setattr("backend_engine.spec.draft_model._LEAST_CONFIDENCE", 0.0)


def test_drafts_are_what_the_model_would_say(loaded: LoadedModel, answers: list[list[int]]) -> None:
    drafter, pool = make_drafter(loaded)
    request = sequence_of(PROMPT, answers[0][:1])
    assert proposed(drafter, request, limit=6) == tuple(answers[0][1:7])
    # Accepted: four of them, and the target's next token is the model's too.
    request.token_ids += answers[0][1:6]
    assert proposed(drafter, request, limit=4) == tuple(answers[0][6:10])
    drafter.finished(request)
    assert pool.num_used == 0


def test_a_rejected_draft_leaves_no_trace(loaded: LoadedModel, answers: list[list[int]]) -> None:
    drafter, _ = make_drafter(loaded)
    astray, straight = sequence_of(PROMPT, [55]), sequence_of(PROMPT, answers[0][:1])
    expected = propose(drafter, straight, limit=6)
    propose(drafter, astray, limit=6)
    astray.token_ids[-1:] = answers[0][:1]
    assert propose(drafter, astray, limit=6) == expected


def test_sequences_of_different_length_are_drafted_for_together(
    loaded: LoadedModel, answers: list[list[int]]
) -> None:
    drafter, _ = make_drafter(loaded)
    short, long = sequence_of(PROMPT, answers[0][:1]), sequence_of(OTHER, answers[1][:1])
    wants = [Want(short, 3), Want(long, 5)]
    # The long context is caught up on in two chunks, so that its draft comes a step later.
    [[ready], late] = drafter.propose(wants)
    assert ready.token_ids == tuple(answers[0][1:4])
    assert late == []
    [_, [caught_up]] = drafter.propose(wants)
    assert caught_up.token_ids == tuple(answers[1][1:6])


def test_a_sequence_without_room_is_not_drafted_for(loaded: LoadedModel, answers: list[list[int]]) -> None:
    drafter, pool = make_drafter(loaded, num_blocks=6)
    first, second = sequence_of(PROMPT, answers[0][:1]), sequence_of(PROMPT, answers[0][:1])
    [[drafted], refused] = drafter.propose([Want(first, 4), Want(second, 4)])
    assert len(drafted.token_ids) == 4
    assert refused == []
    drafter.finished(first)
    assert len(proposed(drafter, second, limit=4)) == 4
    drafter.finished(second)
    assert pool.num_used == 0


def test_a_draft_ends_where_its_model_doubts(
    loaded: LoadedModel, answers: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    drafter, _ = make_drafter(loaded)
    request = sequence_of(PROMPT, answers[0][:1])
    monkeypatch.setattr("backend_engine.spec.draft_model._LEAST_CONFIDENCE", 1.1)
    assert proposed(drafter, request, limit=6) == ()


def test_the_engine_drafts_with_the_model_it_is_given(
    loaded: LoadedModel, smollm2_path: Path, answers: list[list[int]]
) -> None:
    options = EngineOptions(
        model="", speculation="draft", draft_model=str(smollm2_path), kv_memory_mb=32, max_batch_tokens=64
    )
    engine = build_engine(loaded, options)
    assert generate(engine, [PROMPT, OTHER], max_tokens=24) == answers
    stats = engine.stats().speculation
    assert stats.num_accepted_tokens == stats.num_draft_tokens > 0


def test_a_draft_model_of_another_vocabulary_is_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    directory = save_directory(random_model("llama"), tmp_path)
    options = EngineOptions(model="", speculation="draft", draft_model=str(directory))
    with pytest.raises(ModelError, match="another vocabulary"):
        build_engine(loaded, options)
