"""The likeliest token that the kernels find is the one that the logits name."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backend_engine.assemble import build_decoder, build_engine, linear_format, load_model
from backend_engine.batch import ForwardBatch, Piece, pack
from backend_engine.launcher import EngineOptions
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.models.llama import build_model
from backend_engine.native.build import supported_sets
from backend_engine.native.decoder import NativeDecoder
from backend_engine.native.library import Library, Team
from backend_engine.native.pages import NativePages
from tests.backend_engine.support.generate import generate
from tests.backend_engine.support.tiny_models import random_model, save_directory


def save_model(directory: Path, **changes: object) -> Path:
    """Write a model whose logits come twice: token i equals token i + 350. 703 fills no panel of 16."""
    model = random_model("llama", vocab_size=703, tie_word_embeddings=False, **changes)
    with torch.no_grad():
        model.lm_head.weight[350:700] = model.lm_head.weight[:350]
    return save_directory(model, directory)


def make_decoder(directory: Path, variant: str, threads: int) -> NativeDecoder:
    checkpoint = load_checkpoint(directory)
    team = Team(Library(variant), threads)
    model = build_model(checkpoint, linear_format("int8", team))
    return NativeDecoder(model, NativePages(checkpoint.config, 40, 16, "fp16"), team)


def make_batch(rows: int, best_only: Sequence[int] = ()) -> ForwardBatch:
    chance = random.Random(rows)
    prompt = [chance.randrange(700) for _ in range(rows)]
    batch = pack([Piece(prompt, 0, range(10), range(rows))], 16)
    return replace(batch, best_only=frozenset(best_only))


@pytest.mark.parametrize("variant", supported_sets())
@pytest.mark.parametrize("rows", [1, 2, 7, 150])
def test_it_is_the_first_of_the_largest_logits(tmp_path: Path, variant: str, rows: int) -> None:
    decoder = make_decoder(save_model(tmp_path), variant, threads=2)
    best = np.empty(rows, dtype=np.int64)
    logits = decoder.forward(make_batch(rows), best)
    assert np.array_equal(best, logits.numpy().argmax(axis=1))
    assert (best < 350).sum() + (best >= 700).sum() == rows


def test_what_is_no_token_is_never_the_largest(tmp_path: Path) -> None:
    model = random_model("llama", vocab_size=703, tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight[:] = model.lm_head.weight[0].clone()
    decoder = make_decoder(save_directory(model, tmp_path), supported_sets()[0], threads=1)
    best = np.empty(30, dtype=np.int64)
    logits = decoder.forward(make_batch(30), best)
    # The outputs that fill the last panel are zeros in the kernel, here more than any token has.
    assert (logits < 0).all(dim=1).any()
    assert best.tolist() == [0] * 30


def test_rows_that_want_no_logits_leave_the_others_theirs(tmp_path: Path) -> None:
    decoder = make_decoder(save_model(tmp_path), supported_sets()[0], threads=2)
    every, best, again = decoder.forward(make_batch(9)), np.empty(9, np.int64), np.empty(9, np.int64)
    wanted = decoder.forward(make_batch(9, best_only=[0, 3, 4, 8]), best)
    assert torch.equal(wanted, every[[1, 2, 5, 6, 7]])
    assert decoder.forward(make_batch(9, best_only=range(9)), again).shape == (0, 703)
    assert np.array_equal(best, again)


class Operations(TorchDispatchMode):
    """Notes what torch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        # What `from_numpy` asks for does nothing.
        if function is not torch.ops.aten.lift_fresh.default:
            self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_greedy_steps_ask_nothing_of_torch(tmp_path: Path) -> None:
    path = save_model(tmp_path)
    options = EngineOptions(model=str(path), kv_memory_mb=16)
    loaded = load_model(str(path), "int8", threads=2)
    assert isinstance(build_decoder(loaded, options, 4), NativeDecoder)
    prompts = [[5, 6, 7] * 9, [8, 9], [300] * 40]
    expected = generate(build_engine(loaded, options), prompts, max_tokens=8)
    engine = build_engine(loaded, options)
    with Operations() as operations:
        assert generate(engine, prompts, max_tokens=8) == expected
    assert operations.names == []
    with Operations() as operations:
        generate(engine, prompts, max_tokens=2, temperature=0.7)
    assert operations.names
