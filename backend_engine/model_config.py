"""What a checkpoint says about its architecture, in one shape whatever the file format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from backend_engine.errors import ModelError, UnsupportedModel
from backend_engine.rope_scaling import RopeScaling

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

    `qkv_bias` is Qwen2's, `qk_norm` Qwen3's. `sliding_window` bounds the context that we accept, as does
    `served_context`, which is not the checkpoint's but ours (see `served`).
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
    rope_scaling: RopeScaling | None = None
    tie_word_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    sliding_window: int | None = None
    served_context: int | None = None
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
        factors = self.rope_scaling.factors if self.rope_scaling else ()
        if factors and len(factors) != self.head_dim // 2:
            raise UnsupportedModel(
                f"rope scaling: {len(factors)} factors for {self.head_dim // 2} frequencies"
            )

    @property
    def max_context(self) -> int:
        """Tokens of context this engine accepts: the model's window, or a narrower one that it is cut to."""
        scaling = self.rope_scaling
        window = scaling.window(self.max_position_embeddings) if scaling else self.max_position_embeddings
        return min(window, self.sliding_window or window, self.served_context or window)

    def served(self, max_context: int | None, yarn_factor: float | None) -> ModelConfig:
        """Return this config with a window of `max_context` tokens, after YaRN has stretched it.

        Raises ModelError if the window is beyond the model's, or if there is already a scaling to stretch.
        """
        config = self
        if yarn_factor is not None:
            if yarn_factor < 1:
                raise ModelError(f"yarn_factor {yarn_factor} would narrow the window; it must be at least 1")
            if self.rope_scaling is not None:
                raise ModelError(
                    f"yarn_factor: the model's rope is already scaled ({self.rope_scaling.kind})"
                )
            if self.sliding_window is not None:
                raise ModelError(
                    "yarn_factor: this model attends to a sliding window, which YaRN cannot widen"
                )
            config = replace(config, rope_scaling=RopeScaling("yarn", yarn_factor))
        if max_context is not None:
            if max_context > config.max_context:
                raise ModelError(
                    f"max_context {max_context} is beyond the model's window of {config.max_context} tokens"
                )
            config = replace(config, served_context=max_context)
        return config

    @property
    def num_body_weights(self) -> int:
        """Weights of the layers' matrices: each costs a multiplication and an addition per token."""
        attention = self.head_dim * (2 * self.num_heads + 2 * self.num_kv_heads)
        return self.num_layers * self.hidden_size * (attention + 3 * self.intermediate_size)
