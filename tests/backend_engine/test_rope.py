"""Rotary frequencies and rotation are those of transformers; other scalings are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backend_engine.errors import UnsupportedModel
from backend_engine.model_config import ModelConfig
from backend_engine.rope import RotaryEmbedding, inverse_frequencies
from tests.backend_engine.support.tiny_models import LLAMA3_ROPE


def config(scaling: dict[str, Any] | None, head_dim: int = 64) -> ModelConfig:
    return ModelConfig(
        architecture="llama",
        vocab_size=10,
        hidden_size=head_dim * 2,
        intermediate_size=10,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=head_dim,
        max_position_embeddings=512,
        rope_theta=10_000.0,
        rope_scaling=scaling,
    )


@pytest.mark.parametrize(
    "scaling",
    [
        None,
        {"rope_type": "linear", "factor": 4.0},
        LLAMA3_ROPE,
        {**LLAMA3_ROPE, "original_max_position_embeddings": 8192, "factor": 32.0},
    ],
    ids=["default", "linear", "llama3", "llama3.2"],
)
def test_frequencies_and_rotation_are_those_of_transformers(scaling: dict[str, Any] | None) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    parameters = {"rope_type": "default", "rope_theta": 10_000.0, **(scaling or {})}
    reference = LlamaRotaryEmbedding(
        LlamaConfig(
            hidden_size=128, num_attention_heads=2, max_position_embeddings=512, rope_parameters=parameters
        )
    )
    torch.testing.assert_close(inverse_frequencies(config(scaling)), reference.inv_freq, rtol=1e-6, atol=0)
    positions = torch.tensor([0, 1, 7, 500])
    x = torch.randn(4, 3, 64)
    cos, sin = reference(x, positions.unsqueeze(0))
    expected, _ = apply_rotary_pos_emb(x, x, cos[0], sin[0], unsqueeze_dim=1)
    rope = RotaryEmbedding(config(scaling))
    # Angles of hundreds of radians lose digits, in the reference too.
    torch.testing.assert_close(rope.rotate(x, *rope.at(positions)), expected, rtol=1e-4, atol=2e-4)


def test_factors_divide_the_frequencies() -> None:
    plain = inverse_frequencies(config(None, head_dim=4))
    scaled = inverse_frequencies(config({"rope_type": "factors", "factors": [1.0, 8.0]}, head_dim=4))
    assert torch.equal(scaled, plain / torch.tensor([1.0, 8.0]))


@pytest.mark.parametrize("kind", ["dynamic", "yarn", "longrope", "nonsense"])
def test_scalings_that_are_not_built_are_refused_by_name(kind: str) -> None:
    with pytest.raises(UnsupportedModel, match=kind):
        RotaryEmbedding(config({"rope_type": kind, "factor": 2.0}))


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear"},
        {"rope_type": "linear", "factor": 0},
        {**LLAMA3_ROPE, "factor": "8"},
        {**LLAMA3_ROPE, "low_freq_factor": 4.0},
    ],
)
def test_nonsensical_parameters_are_refused(scaling: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModel, match="rope scaling"):
        inverse_frequencies(config(scaling))
