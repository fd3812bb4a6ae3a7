"""What a checkpoint says about its architecture, in one shape whatever the file format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backend_engine.errors import UnsupportedModel

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
_POSITIVE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "max_position_embeddings",
)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Hyper-parameters of one model of the Llama family.

    `rope_scaling` is the `rope_scaling` object of a Hugging Face config (`None` or `{"rope_type": …}`);
    `qkv_bias` is Qwen2's, `qk_norm` Qwen3's. `sliding_window` bounds the context that we accept.
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    tie_word_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    sliding_window: int | None = None
    bos_token_id: int | None = None
    eos_token_ids: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise UnsupportedModel(f"architecture {self.architecture!r} is not supported (only {known})")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise UnsupportedModel(f"{name} must be positive, not {getattr(self, name)}")
        if self.num_heads % self.num_kv_heads:
            raise UnsupportedModel(f"{self.num_heads} heads cannot share {self.num_kv_heads} KV heads evenly")
        if self.head_dim % 2:
            raise UnsupportedModel(f"head_dim must be even for rotary embedding, not {self.head_dim}")

    @property
    def max_context(self) -> int:
        """Tokens of context this engine accepts: the trained window, or a narrower sliding one."""
        window = self.sliding_window or self.max_position_embeddings
        return min(self.max_position_embeddings, window)

    @property
    def num_body_weights(self) -> int:
        """Weights of the layers' matrices: each costs a multiplication and an addition per token."""
        attention = self.head_dim * (2 * self.num_heads + 2 * self.num_kv_heads)
        return self.num_layers * self.hidden_size * (attention + 3 * self.intermediate_size)
