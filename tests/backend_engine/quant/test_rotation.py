"""The rotated model computes the same function, with outliers spread over all channels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.models.llama import build_model
from backend_engine.quant.rotation import (
    Rotation,
    cosine_basis,
    hadamard,
    hadamard_block,
    rotate_residual_stream,
)
from tests.backend_engine.support.dense_attention import prompt_logits
from tests.backend_engine.support.tiny_models import random_model, save_directory


@pytest.mark.parametrize(("size", "block"), [(576, 64), (4096, 64), (96, 32), (20, 4), (37, 1)])
def test_blocks_are_the_largest_power_of_two_up_to_64(size: int, block: int) -> None:
    assert hadamard_block(size) == block


@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_hadamard_matrices_are_orthogonal(size: int) -> None:
    matrix = hadamard(size)
    assert torch.equal(matrix @ matrix.t(), size * torch.eye(size))
    assert torch.equal(matrix, matrix.t())


@pytest.mark.parametrize("size", [1, 2, 9, 37])
def test_cosine_bases_are_orthogonal(size: int) -> None:
    matrix = cosine_basis(size)
    torch.testing.assert_close(matrix @ matrix.t(), torch.eye(size))


@pytest.mark.parametrize("size", [576, 96, 37])
def test_rotations_keep_lengths_and_spread_single_channels(size: int) -> None:
    rotated = Rotation(size)(torch.eye(size))
    torch.testing.assert_close(rotated @ rotated.t(), torch.eye(size), atol=1e-5, rtol=0)
    assert rotated.abs().max() <= (2 / size) ** 0.5 + 1e-6


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_rotated_model_gives_the_same_logits(model_type: str, tied: bool, tmp_path: Path) -> None:
    model = random_model(model_type, tie_word_embeddings=tied)
    checkpoint = load_checkpoint(save_directory(model, tmp_path))
    rotated = rotate_residual_stream(checkpoint)
    prompt = list(range(3, 90))
    expected = prompt_logits(build_model(checkpoint, quantization="none"), prompt)
    actual = prompt_logits(build_model(rotated, quantization="none"), prompt)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(
        rotated.tensor("model.embed_tokens.weight"), checkpoint.tensor("model.embed_tokens.weight")
    )
