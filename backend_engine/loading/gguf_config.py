"""GGUF metadata to ModelConfig."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend_engine.errors import CheckpointError, UnsupportedModel
from backend_engine.model_config import ModelConfig
from backend_engine.rope_scaling import RopeScaling, yarn_magnitude

_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_YARN_TWEAKS = ("yarn_ext_factor", "yarn_attn_factor", "yarn_log_multiplier")
"""Departures from YaRN as published, which converters write for architectures that we do not run."""
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


def read_config(
    path: Path,
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    rope_factors: Sequence[float] | None,
) -> ModelConfig:
    """Return the config that `metadata` and the tensors' `shapes` describe.

    `rope_factors` are the values of `rope_freqs.weight`, by which Llama 3 divides its rotary
    frequencies: GGUF stores them ready-made instead of the parameters that they come from.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise CheckpointError(f"{path}: general.architecture is missing")
    if architecture not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise UnsupportedModel(f"{path}: architecture {architecture!r} is not supported (only {known})")
    values = _Values(path, metadata, architecture)
    if values.integer("expert_count", 0):
        raise UnsupportedModel(f"{path}: mixture-of-experts models are not supported")

    hidden, heads = values.integer("embedding_length"), values.integer("attention.head_count")
    if heads <= 0:
        raise CheckpointError(f"{path}: {architecture}.attention.head_count is {heads}")
    head_dim = values.integer("attention.key_length", hidden // heads)
    if values.integer("attention.value_length", head_dim) != head_dim:
        raise UnsupportedModel(f"{path}: keys and values of different length are not supported")
    if values.integer("rope.dimension_count", head_dim) != head_dim:
        raise UnsupportedModel(f"{path}: rotary embedding over a part of the head is not supported")
    embedding = shapes.get("token_embd.weight")
    if embedding is None or len(embedding) != 2:
        raise CheckpointError(f"{path}: tensor token_embd.weight is missing")
    if embedding[1] != hidden:
        raise CheckpointError(f"{path}: embeddings of {embedding[1]} values, but a hidden size of {hidden}")
    if any(name.startswith("blk.") and name.endswith("attn_output.bias") for name in shapes):
        raise UnsupportedModel(f"{path}: a bias on the attention output is not supported")

    end_ids = (metadata.get(f"tokenizer.ggml.{key}") for key in _END_KEYS)
    return ModelConfig(
        architecture=architecture,
        vocab_size=embedding[0],
        hidden_size=hidden,
        intermediate_size=values.integer("feed_forward_length"),
        num_layers=values.integer("block_count"),
        num_heads=heads,
        num_kv_heads=values.integer("attention.head_count_kv", heads),
        head_dim=head_dim,
        max_position_embeddings=values.integer("context_length"),
        rms_norm_eps=values.number("attention.layer_norm_rms_epsilon"),
        rope_theta=values.number("rope.freq_base", 10_000.0),
        rope_scaling=_rope_scaling(values, rope_factors, head_dim),
        tie_word_embeddings="output.weight" not in shapes,
        qkv_bias="blk.0.attn_q.bias" in shapes,
        qk_norm="blk.0.attn_q_norm.weight" in shapes,
        sliding_window=values.integer("attention.sliding_window", 0) or None,
        bos_token_id=metadata.get("tokenizer.ggml.bos_token_id"),
        eos_token_ids=frozenset(token_id for token_id in end_ids if isinstance(token_id, int)),
    )


def _rope_scaling(values: _Values, factors: Sequence[float] | None, head_dim: int) -> RopeScaling | None:
    kind = values.metadata.get(f"{values.prefix}.rope.scaling.type", "none")
    if factors is not None:
        if kind not in ("none", "llama3"):
            raise UnsupportedModel(f"{values.path}: rope_freqs.weight together with {kind!r} rope scaling")
        if len(factors) != head_dim // 2 or not all(factors):
            raise CheckpointError(f"{values.path}: rope_freqs.weight has {len(factors)} values, or a zero")
        return RopeScaling("factors", factors=tuple(factors))
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise UnsupportedModel(f"{values.path}: rope scaling {kind!r} is not supported")
    factor = values.number("rope.scaling.factor")
    trained = values.integer("rope.scaling.original_context_length", 0) or None
    if kind == "linear":
        return RopeScaling("linear", factor, trained)
    for key in _YARN_TWEAKS:
        if f"{values.prefix}.rope.scaling.{key}" in values.metadata:
            raise UnsupportedModel(f"{values.path}: {values.prefix}.rope.scaling.{key} is not supported")
    return RopeScaling(
        "yarn",
        factor,
        trained,
        beta_fast=values.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=values.number("rope.scaling.yarn_beta_slow", 1.0),
        # llama.cpp's attn_factor comes on top of the paper's.
        attention_factor=values.number("rope.scaling.attn_factor", 1.0) * yarn_magnitude(factor),
    )


class _Values:
    """Typed access to the keys of one architecture."""

    def __init__(self, path: Path, metadata: Mapping[str, Any], prefix: str) -> None:
        self.path = path
        self.metadata = metadata
        self.prefix = prefix

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise CheckpointError(f"{self.path}: {self.prefix}.{key} is {value!r}, not one integer")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise CheckpointError(f"{self.path}: {self.prefix}.{key} is {value!r}, not a positive number")
        return float(value)

    def _get(self, key: str, default: float | None) -> Any:
        value = self.metadata.get(f"{self.prefix}.{key}", default)
        if value is None:
            raise CheckpointError(f"{self.path}: {self.prefix}.{key} is missing")
        return value
