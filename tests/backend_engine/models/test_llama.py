"""The decoder computes what transformers computes on the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType

from backend_engine.assemble import linear_format
from backend_engine.errors import CheckpointError
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.models.llama import build_model as build_from
from backend_engine.quant.base import Quantization
from tests.backend_engine.support.dense_attention import prompt_logits
from tests.backend_engine.support.tiny_models import (
    LLAMA3_ROPE,
    random_model,
    reference_logits,
    save_directory,
    save_gguf,
)
from tests.backend_engine.support.torch_models import build_model

PROMPT = [1, *range(5, 690, 7), 2, 2, 3]
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama untied": ("llama", {}),
    "llama tied": ("llama", {"tie_word_embeddings": True}),
    "llama with llama3 rope": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama with linear rope": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
    ),
    "llama with yarn": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "rope_theta": 10_000.0,
            }
        },
    ),
    "llama with a head_dim of its own": ("llama", {"head_dim": 32}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 24, "tie_word_embeddings": True}),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("variant", VARIANTS)
def test_directory_gives_the_logits_of_transformers(variant: str, tmp_path: Path) -> None:
    model_type, changes = VARIANTS[variant]
    reference = random_model(model_type, **changes)
    checkpoint = load_checkpoint(save_directory(reference, tmp_path))
    logits = prompt_logits(build_model(checkpoint, quantization="none"), PROMPT)
    torch.testing.assert_close(logits, reference_logits(reference, PROMPT), rtol=1e-4, atol=2e-4)


def test_dynamic_rope_gives_the_logits_of_transformers_at_the_served_length(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}
    reference = random_model("llama", rope_parameters=rope, max_position_embeddings=64)
    checkpoint = load_checkpoint(save_directory(reference, tmp_path))
    assert checkpoint.config.max_context == 256
    for length in (len(PROMPT), 60):
        # Past the trained window, the window served is the length; within it, any length is served alike.
        served = replace(checkpoint, config=checkpoint.config.served(max(length, 64), None))
        prompt = PROMPT[:length]
        logits = prompt_logits(build_model(served, quantization="none"), prompt)
        torch.testing.assert_close(logits, reference_logits(reference, prompt), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    "kind",
    [getattr(GGMLQuantizationType, name) for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")],
    ids=lambda kind: kind.name,
)
def test_gguf_of_every_tensor_type_gives_the_logits_of_its_rounded_weights(
    kind: GGMLQuantizationType, tmp_path: Path
) -> None:
    reference = random_model("llama", tie_word_embeddings=True)
    checkpoint = load_checkpoint(save_gguf(reference, tmp_path / "model.gguf", kind))
    logits = prompt_logits(build_model(checkpoint, quantization="none"), PROMPT)
    torch.testing.assert_close(logits, reference_logits(reference, PROMPT), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    "variant",
    [
        "llama untied",
        "llama with llama3 rope",
        "llama with linear rope",
        "llama with yarn",
        "mistral",
        "qwen2",
        "qwen3",
    ],
)
def test_gguf_of_every_architecture_gives_the_logits_of_transformers(variant: str, tmp_path: Path) -> None:
    model_type, changes = VARIANTS[variant]
    reference = random_model(model_type, **changes)
    path = save_gguf(reference, tmp_path / "model.gguf", GGMLQuantizationType.F16)
    logits = prompt_logits(build_model(load_checkpoint(path), quantization="none"), PROMPT)
    torch.testing.assert_close(logits, reference_logits(reference, PROMPT), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("quantization", "most"), [("int8", 0.08), ("int4", 0.6)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_rounded_models_stay_close_to_the_reference(
    variant: str, quantization: Quantization, most: float, tmp_path: Path
) -> None:
    model_type, changes = VARIANTS[variant]
    reference = random_model(model_type, **changes)
    checkpoint = load_checkpoint(save_directory(reference, tmp_path))
    expected = reference_logits(reference, PROMPT)
    logits = prompt_logits(build_model(checkpoint, quantization=quantization), PROMPT)
    assert (logits - expected).norm() / expected.norm() < most


def test_smollm2_gives_the_logits_of_transformers(smollm2_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    checkpoint = load_checkpoint(smollm2_path)
    config = checkpoint.config
    reference = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=True,
        )
    ).eval()
    state = {name: checkpoint.tensor(name) for name in reference.state_dict() if name != "lm_head.weight"}
    reference.load_state_dict(state, strict=False)
    reference.tie_weights()
    assert checkpoint.chat_template is not None
    prompt = checkpoint.tokenizer.encode(
        checkpoint.chat_template.render([{"role": "user", "content": "Name three rivers, and why 漢字 🎉?"}])
    )
    expected = reference_logits(reference, prompt)
    logits = prompt_logits(build_model(checkpoint, quantization="none"), prompt)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-3)

    divergence = _kl(expected, prompt_logits(build_model(checkpoint, quantization="auto"), prompt))
    assert divergence.mean() < 0.03, divergence


def test_progress_counts_the_layers(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(save_directory(random_model("llama"), tmp_path))
    seen: list[tuple[int, int]] = []
    build_from(
        checkpoint, linear_format("none", None), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]


def test_a_tensor_of_the_wrong_shape_is_named(tmp_path: Path) -> None:
    directory = save_directory(random_model("llama"), tmp_path)
    config = directory / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 160', '"intermediate_size": 192'))
    with pytest.raises(CheckpointError, match=r"mlp.* is \(160, 96\), the config says \(192, 96\)"):
        build_model(load_checkpoint(directory), quantization="none")


def _kl(expected: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    reference = expected.log_softmax(-1)
    return (reference.exp() * (reference - actual.log_softmax(-1))).sum(-1)
