"""Rotary position embedding (arXiv 2104.09864): tables of cosines and sines, and their use on q and k."""

from __future__ import annotations

import torch

from backend_engine.errors import UnsupportedModel
from backend_engine.model_config import ModelConfig
from backend_engine.rope_scaling import Frequencies, plain_frequencies

_MOST_POSITIONS = 1 << 22
"""Bounds the tables; a wider window is a damaged file or a model that needs another method."""


def check_rope(config: ModelConfig) -> None:
    """Raise UnsupportedModel if `config` asks for a window that is not built."""
    if config.max_context > _MOST_POSITIONS:
        raise UnsupportedModel(f"a context window of {config.max_context} tokens is not supported")


class RotaryEmbedding:
    """Tables for every position up to the served window.

    They are computed once and looked up, because a vectorised cosine may round differently at the end
    of a batch than in its middle, and a token's result must not depend on its neighbours.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Compute the tables; raises UnsupportedModel as `check_rope` does."""
        check_rope(config)
        rotary = frequencies(config)
        angles = torch.outer(torch.arange(config.max_context, dtype=torch.float32), rotary.inverse)
        self._cos, self._sin = angles.cos() * rotary.magnitude, angles.sin() * rotary.magnitude
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


def frequencies(config: ModelConfig) -> Frequencies:
    """Return the rotary frequencies of a model, scaled as its config says."""
    if config.rope_scaling is None:
        return Frequencies(plain_frequencies(config.head_dim, config.rope_theta))
    return config.rope_scaling.frequencies(
        config.head_dim, config.rope_theta, config.max_position_embeddings, config.max_context
    )
