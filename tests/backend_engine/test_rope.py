"""Rotary tables and rotation are those of transformers, for every scaling, to the last position served."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from backend_engine.errors import ModelError, UnsupportedModel
from backend_engine.model_config import ModelConfig
from backend_engine.rope import RotaryEmbedding, frequencies
from backend_engine.rope_scaling import RopeScaling

WINDOW = 512
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}


def config(scaling: RopeScaling | None, head_dim: int = 64) -> ModelConfig:
    return ModelConfig(
        architecture="llama",
        vocab_size=10,
        hidden_size=head_dim * 2,
        intermediate_size=10,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=head_dim,
        max_position_embeddings=WINDOW,
        rope_theta=10_000.0,
        rope_scaling=scaling,
    )


CASES: dict[str, tuple[RopeScaling | None, dict[str, Any]]] = {
    "default": (None, {"rope_type": "default"}),
    "linear": (RopeScaling("linear", 4.0), {"rope_type": "linear", "factor": 4.0}),
    "dynamic": (RopeScaling("dynamic", 4.0), {"rope_type": "dynamic", "factor": 4.0}),
    "llama3": (
        RopeScaling("llama3", 8.0, 64),
        {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64, **LLAMA3},
    ),
    "llama3.2": (
        RopeScaling("llama3", 32.0, 8192),
        {"rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 8192, **LLAMA3},
    ),
    "yarn": (
        RopeScaling("yarn", 4.0, WINDOW),
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": WINDOW},
    ),
    "yarn with every knob": (
        RopeScaling("yarn", 8.0, 128, beta_fast=16.0, beta_slow=2.0, attention_factor=0.7, truncate=False),
        {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 128,
            "beta_fast": 16.0,
            "beta_slow": 2.0,
            "attention_factor": 0.7,
            "truncate": False,
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_tables_and_rotation_are_those_of_transformers(case: str) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    scaling, parameters = CASES[case]
    ours = config(scaling)
    reference = LlamaRotaryEmbedding(
        LlamaConfig(
            hidden_size=128,
            num_attention_heads=2,
            max_position_embeddings=WINDOW,
            rope_parameters={"rope_theta": 10_000.0, **parameters},
        )
    )
    # The last position is what transformers' dynamic scaling takes its length from.
    positions = torch.tensor([0, 1, 7, 500, ours.max_context - 1])
    x = torch.randn(len(positions), 3, 64)
    cos, sin = reference(x, positions.unsqueeze(0))
    torch.testing.assert_close(frequencies(ours).inverse, reference.inv_freq, rtol=2e-6, atol=0)
    rope = RotaryEmbedding(ours)
    our_cos, our_sin = rope.at(positions)
    # Angles of thousands of radians lose digits, in the reference too.
    torch.testing.assert_close(our_cos[:, 0], cos[0], rtol=1e-4, atol=5e-4)
    torch.testing.assert_close(our_sin[:, 0, 32:], sin[0, :, 32:], rtol=1e-4, atol=5e-4)
    expected, _ = apply_rotary_pos_emb(x, x, cos[0], sin[0], unsqueeze_dim=1)
    torch.testing.assert_close(rope.rotate(x, our_cos, our_sin), expected, rtol=1e-4, atol=2e-3)


def test_dynamic_scaling_is_plain_in_the_trained_window_and_set_by_the_served_one() -> None:
    scaled = config(RopeScaling("dynamic", 4.0))
    plain = frequencies(config(None)).inverse
    assert scaled.max_context == 4 * WINDOW
    assert torch.equal(frequencies(scaled.served(WINDOW, None)).inverse, plain)
    slower, slowest = (frequencies(scaled.served(n, None)).inverse for n in (2 * WINDOW, 4 * WINDOW))
    assert (slowest[1:] < slower[1:]).all()
    assert (slower[1:] < plain[1:]).all()


def test_factors_divide_the_frequencies() -> None:
    plain = frequencies(config(None, head_dim=4)).inverse
    scaled = frequencies(config(RopeScaling("factors", factors=(1.0, 8.0)), head_dim=4)).inverse
    assert torch.equal(scaled, plain / torch.tensor([1.0, 8.0]))


@pytest.mark.parametrize(
    ("kind", "trained", "window"),
    [
        ("linear", None, 4 * WINDOW),
        ("dynamic", None, 4 * WINDOW),
        ("yarn", None, 4 * WINDOW),
        ("yarn", 64, WINDOW),
        ("llama3", 64, WINDOW),
    ],
)
def test_the_window_of_a_scaled_checkpoint(kind: Any, trained: int | None, window: int) -> None:
    assert config(RopeScaling(kind, 4.0, trained)).max_context == window


def test_yarn_on_demand_is_the_scaling_that_a_checkpoint_would_ask_for() -> None:
    stretched = config(None).served(None, 2.0)
    asked = frequencies(config(RopeScaling("yarn", 2.0, WINDOW)))
    assert stretched.max_context == 2 * WINDOW
    assert torch.equal(frequencies(stretched).inverse, asked.inverse)
    assert frequencies(stretched).magnitude == asked.magnitude > 1
    assert stretched.served(WINDOW + 1, None).max_context == WINDOW + 1


@pytest.mark.parametrize(
    ("model", "max_context", "yarn_factor", "words"),
    [
        (config(None), WINDOW + 1, None, f"{WINDOW + 1} is beyond the model's window of {WINDOW}"),
        (config(None), 2 * WINDOW + 1, 2.0, f"window of {2 * WINDOW}"),
        (config(None), None, 0.5, "at least 1"),
        (config(RopeScaling("linear", 2.0)), None, 2.0, r"already scaled \(linear\)"),
        (replace(config(None), sliding_window=64), None, 2.0, "sliding window"),
    ],
)
def test_a_window_that_cannot_be_served_is_refused(
    model: ModelConfig, max_context: int | None, yarn_factor: float | None, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        model.served(max_context, yarn_factor)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "longrope"}, "'longrope' is not supported"),
        ({"kind": "linear", "factor": 0.0}, "factor is 0.0"),
        ({"kind": "llama3", "low_freq_factor": 4.0}, "not below"),
        ({"kind": "yarn", "beta_slow": 40.0}, "not below"),
    ],
)
def test_nonsensical_parameters_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedModel, match=words):
        RopeScaling(**settings)


def test_factors_must_fit_the_head() -> None:
    with pytest.raises(UnsupportedModel, match="3 factors for 32 frequencies"):
        config(RopeScaling("factors", factors=(1.0, 2.0, 3.0)))
