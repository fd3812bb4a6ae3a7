"""config.json and generation_config.json to ModelConfig."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend_engine.errors import CheckpointError, UnsupportedModel
from backend_engine.loading.json_file import read_json_object
from backend_engine.model_config import ARCHITECTURES, ModelConfig
from backend_engine.rope_scaling import SCALING_KINDS, RopeScaling, yarn_magnitude

_QWEN3_HEAD_DIM = 128
_MISTRAL_WINDOW = 4096
"""What `transformers` assumes where the key is absent."""


def read_config(directory: Path) -> ModelConfig:
    """Return the config of the model in `directory`.

    Raises CheckpointError for missing or mistyped keys, UnsupportedModel for features that are not built.
    """
    path = directory / "config.json"
    raw = read_json_object(path)
    architecture = raw.get("model_type")
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UnsupportedModel(f"{path}: model_type {architecture!r} is not supported (only {known})")
    _refuse_unbuilt(path, raw, architecture)
    hidden, heads = _integer(path, raw, "hidden_size"), _integer(path, raw, "num_attention_heads")
    if heads <= 0:
        raise CheckpointError(f"{path}: num_attention_heads is {heads}")
    head_dim = _QWEN3_HEAD_DIM if architecture == "qwen3" else hidden // heads
    window = _integer(path, raw, "max_position_embeddings")
    theta, scaling = _rope(path, raw, window)
    generation = read_json_object(directory / "generation_config.json", optional=True)
    return ModelConfig(
        architecture=architecture,
        vocab_size=_integer(path, raw, "vocab_size"),
        hidden_size=hidden,
        intermediate_size=_integer(path, raw, "intermediate_size"),
        num_layers=_integer(path, raw, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=_integer(path, raw, "num_key_value_heads", heads if architecture == "llama" else None),
        head_dim=_integer(path, raw, "head_dim", head_dim),
        max_position_embeddings=window,
        rms_norm_eps=_number(path, raw, "rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        qkv_bias=architecture == "qwen2",
        qk_norm=architecture == "qwen3",
        sliding_window=_sliding_window(path, raw, architecture),
        bos_token_id=next(iter(_token_ids(path, raw.get("bos_token_id"))), None),
        eos_token_ids=frozenset(_token_ids(path, generation.get("eos_token_id", raw.get("eos_token_id")))),
    )


def _refuse_unbuilt(path: Path, raw: Mapping[str, Any], architecture: str) -> None:
    if raw.get("hidden_act", "silu") != "silu":
        raise UnsupportedModel(f"{path}: activation {raw['hidden_act']!r} is not supported (only silu)")
    for key in ("quantization_config", "mlp_bias"):
        if raw.get(key):
            raise UnsupportedModel(f"{path}: {key} is not supported")
    if raw.get("attention_bias") and architecture != "qwen2":
        raise UnsupportedModel(f"{path}: attention_bias is not supported")
    if raw.get("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedModel(f"{path}: partial_rotary_factor is not supported")


def _rope(path: Path, raw: Mapping[str, Any], window: int) -> tuple[float, RopeScaling | None]:
    """Return base and scaling; `rope_parameters` holds both since transformers 5."""
    parameters = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(parameters, dict):
        raise CheckpointError(f"{path}: rope parameters are {parameters!r}, not an object")
    if any(isinstance(value, dict) for value in parameters.values()):
        raise UnsupportedModel(f"{path}: rope parameters that differ by layer are not supported")
    if parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedModel(f"{path}: partial_rotary_factor is not supported")
    theta = _number(path, parameters, "rope_theta", _number(path, raw, "rope_theta", 10_000.0))
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    return theta, None if kind == "default" else _scaling(path, parameters, kind, window)


def _scaling(path: Path, parameters: Mapping[str, Any], kind: Any, window: int) -> RopeScaling:
    if kind not in SCALING_KINDS or kind == "factors":
        known = ", ".join(kind for kind in SCALING_KINDS if kind != "factors")
        raise UnsupportedModel(f"{path}: rope scaling {kind!r} is not supported (only {known})")
    key = "original_max_position_embeddings"
    trained = None if parameters.get(key) is None else _integer(path, parameters, key)
    # Without a factor, it is what the two windows say (DeepSeek's configs).
    default = window / trained if kind == "yarn" and trained else None
    factor = _number(path, parameters, "factor", default)
    if kind == "llama3":
        return RopeScaling(
            kind,
            factor,
            _integer(path, parameters, key),
            low_freq_factor=_number(path, parameters, "low_freq_factor"),
            high_freq_factor=_number(path, parameters, "high_freq_factor"),
        )
    if kind != "yarn":
        return RopeScaling(kind, factor, trained)
    return RopeScaling(
        kind,
        factor,
        trained,
        beta_fast=_number(path, parameters, "beta_fast", 32.0),
        beta_slow=_number(path, parameters, "beta_slow", 1.0),
        attention_factor=_attention_factor(path, parameters, factor),
        truncate=bool(parameters.get("truncate", True)),
    )


def _attention_factor(path: Path, parameters: Mapping[str, Any], factor: float) -> float | None:
    if parameters.get("attention_factor") is not None:
        return _number(path, parameters, "attention_factor")
    if parameters.get("mscale") and parameters.get("mscale_all_dim"):
        mscale, all_dim = (_number(path, parameters, key) for key in ("mscale", "mscale_all_dim"))
        return yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all_dim)
    return None


def _sliding_window(path: Path, raw: Mapping[str, Any], architecture: str) -> int | None:
    if architecture == "mistral" and "sliding_window" not in raw:
        return _MISTRAL_WINDOW
    if architecture.startswith("qwen") and not raw.get("use_sliding_window", False):
        return None
    if architecture == "llama" or raw.get("sliding_window") is None:
        return None
    return _integer(path, raw, "sliding_window")


def _token_ids(path: Path, value: Any) -> list[int]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token_id, int) for token_id in ids):
        raise CheckpointError(f"{path}: {value!r} is not a token id")
    return ids


def _integer(path: Path, raw: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = default if raw.get(key) is None else raw[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise CheckpointError(f"{path}: {key} is {value!r}, not an integer")
    return value


def _number(path: Path, raw: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = default if raw.get(key) is None else raw[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CheckpointError(f"{path}: {key} is {value!r}, not a positive number")
    return float(value)
