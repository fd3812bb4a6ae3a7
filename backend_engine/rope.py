"""Rotary position embedding (arXiv 2104.09864): tables of cosines and sines, and their use on q and k."""

from __future__ import annotations

import math
from typing import Any

import torch

from backend_engine.errors import UnsupportedModel
from backend_engine.model_config import ModelConfig

_MOST_POSITIONS = 1 << 22
"""Bounds the tables; a wider window is a damaged file or a model that needs another method."""


def check_rope(config: ModelConfig) -> None:
    """Raise UnsupportedModel if `config` asks for scaling or a window that is not built."""
    if config.max_context > _MOST_POSITIONS:
        raise UnsupportedModel(f"a context window of {config.max_context} tokens is not supported")
    inverse_frequencies(config)


class RotaryEmbedding:
    """Tables for every position up to the model's window.

    They are computed once and looked up, because a vectorised cosine may round differently at the end
    of a batch than in its middle, and a token's result must not depend on its neighbours.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Compute the tables; raises UnsupportedModel as `check_rope` does."""
        check_rope(config)
        angles = torch.outer(
            torch.arange(config.max_context, dtype=torch.float32), inverse_frequencies(config)
        )
        self._cos, self._sin = angles.cos(), angles.sin()
        self._half = config.head_dim // 2

    @property
    def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of every position, fp32 [positions, head_dim / 2]."""
        return self._cos, self._sin

    def at(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and signed sines [tokens, 1, head_dim] for int64 `positions` [tokens]."""
        cos, sin = self._cos[positions].unsqueeze(1), self._sin[positions].unsqueeze(1)
        return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Rotate `x` [tokens, heads, head_dim] with the tables that `at` returned."""
        # Not addcmul: a fused multiply-add would round differently in vectors and in their remainders.
        return (x * cos).add_(x.roll(self._half, -1).mul_(sin))


def inverse_frequencies(config: ModelConfig) -> torch.Tensor:
    """Return the rotation per position of each pair of dimensions, fp32 [head_dim / 2]."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    scaling = config.rope_scaling or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return frequencies
    if kind == "linear":
        return frequencies / _number(scaling, "factor")
    if kind == "llama3":
        return _llama3(frequencies, scaling)
    if kind == "factors":
        # GGUF's form of llama3: the divisors themselves.
        return frequencies / torch.tensor(scaling["factors"], dtype=torch.float32)
    raise UnsupportedModel(f"rope scaling {kind!r} is not supported (only linear and llama3)")


def _llama3(frequencies: torch.Tensor, scaling: dict[str, Any]) -> torch.Tensor:
    """Slow the long waves by `factor`, keep the short ones, and blend in between (Llama 3.1)."""
    factor, context = _number(scaling, "factor"), _number(scaling, "original_max_position_embeddings")
    low, high = _number(scaling, "low_freq_factor"), _number(scaling, "high_freq_factor")
    if low >= high:
        raise UnsupportedModel(f"rope scaling: low_freq_factor {low} is not below high_freq_factor {high}")
    turns = context * frequencies / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / factor)


def _number(scaling: dict[str, Any], key: str) -> float:
    value = scaling.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UnsupportedModel(f"rope scaling: {key} is {value!r}, not a positive number")
    return float(value)
