"""Rotary frequencies for windows longer than the one a model was first trained on.

    linear   positions divided by a factor (arXiv 2306.15595)
    dynamic  a larger base the longer the window ("NTK-aware"), plain within the trained one
    yarn     long waves slowed, short ones kept, attention sharpened a little (arXiv 2309.00071)
    llama3   as YaRN's blend, over other bounds and without the sharpening (Llama 3.1)
    factors  the divisors of every frequency, which is how GGUF writes llama3

Numbers agree with `transformers` (`modeling_rope_utils`), with one choice of our own. There, "dynamic" means
that the base follows the length of the sequence, so keys cached before and after a sequence grew do not fit
together. Here it is set once, for the window served: a token's KV must not depend on what comes after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from backend_engine.errors import UnsupportedModel

ScalingKind = Literal["linear", "dynamic", "yarn", "llama3", "factors"]
SCALING_KINDS: tuple[ScalingKind, ...] = get_args(ScalingKind)


@dataclass(frozen=True, slots=True)
class Frequencies:
    """`inverse` is the rotation per position of each pair of dimensions, fp32 [head_dim / 2].

    `magnitude` multiplies cosines and sines, and so attention scores by its square.
    """

    inverse: torch.Tensor
    magnitude: float = 1.0


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """One model's scaling; raises UnsupportedModel for parameters that make no sense.

    `trained_context` is the window before scaling, if the checkpoint tells it apart from the one it is for.
    """

    kind: ScalingKind
    factor: float = 1.0
    trained_context: int | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    """YaRN's magnitude; None is the paper's 0.1 ln(factor) + 1."""
    truncate: bool = True
    """Whether YaRN's bounds are rounded outwards to whole dimensions."""
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in SCALING_KINDS:
            known = ", ".join(SCALING_KINDS)
            raise UnsupportedModel(f"rope scaling {self.kind!r} is not supported (only {known})")
        if not 0 < self.factor < math.inf:
            raise UnsupportedModel(f"rope scaling: factor is {self.factor}, not a positive number")
        if self.low_freq_factor >= self.high_freq_factor:
            raise UnsupportedModel(
                f"rope scaling: low_freq_factor {self.low_freq_factor} is not below "
                f"high_freq_factor {self.high_freq_factor}"
            )
        if self.beta_slow >= self.beta_fast:
            raise UnsupportedModel(
                f"rope scaling: beta_slow {self.beta_slow} is not below beta_fast {self.beta_fast}"
            )

    def window(self, max_position_embeddings: int) -> int:
        """Return the tokens of context that a checkpoint with this scaling is good for.

        Most checkpoints leave `max_position_embeddings` at the trained window and expect its use `factor`
        times over; some state the stretched one themselves.
        """
        if self.kind in ("llama3", "factors"):
            return max_position_embeddings
        trained = self.trained_context or max_position_embeddings
        return max(max_position_embeddings, int(trained * self.factor))

    def frequencies(
        self, head_dim: int, theta: float, max_position_embeddings: int, served: int
    ) -> Frequencies:
        """Return the frequencies of a model of base `theta` that is served with a window of `served`."""
        plain = plain_frequencies(head_dim, theta)
        trained = self.trained_context or max_position_embeddings
        if self.kind == "linear":
            return Frequencies(plain / self.factor)
        if self.kind == "dynamic":
            if served <= trained:
                return Frequencies(plain)
            stretch = self.factor * served / trained - (self.factor - 1)
            return Frequencies(plain_frequencies(head_dim, theta * stretch ** (head_dim / (head_dim - 2))))
        if self.kind == "yarn":
            kept = self._yarn_kept(head_dim, theta, trained)
            return Frequencies(plain * kept + plain / self.factor * (1 - kept), self._yarn_magnitude())
        if self.kind == "llama3":
            turns = trained * plain / (2 * math.pi)
            low, high = self.low_freq_factor, self.high_freq_factor
            kept = ((turns - low) / (high - low)).clamp(0, 1)
            return Frequencies(plain * (kept + (1 - kept) / self.factor))
        return Frequencies(plain / torch.tensor(self.factors, dtype=torch.float32))

    def _yarn_kept(self, head_dim: int, theta: float, trained: int) -> torch.Tensor:
        """Return the share of each frequency that stays: all, where a wave turns often in the old window."""

        def dimension(turns: float) -> float:
            """The pair of dimensions whose wave turns so often in the trained window."""
            return head_dim * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

        low, high = dimension(self.beta_fast), dimension(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, head_dim - 1)
        if low == high:
            high += 0.001
        pairs = torch.arange(head_dim // 2, dtype=torch.float32)
        return 1 - ((pairs - low) / (high - low)).clamp(0, 1)

    def _yarn_magnitude(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        return yarn_magnitude(self.factor)


def yarn_magnitude(factor: float, weight: float = 1.0) -> float:
    """Return YaRN's temperature for a window stretched by `factor` (arXiv 2309.00071, section 3.4)."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def plain_frequencies(head_dim: int, theta: float) -> torch.Tensor:
    """Return the unscaled frequencies, fp32 [head_dim / 2]."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    return 1.0 / theta**exponents
