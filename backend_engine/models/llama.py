"""The decoder of the Llama family: Llama, Mistral, Qwen2 (biased q, k, v) and Qwen3 (normed q and k)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from backend_engine.attention.base import AttentionBackend
from backend_engine.batch import ForwardBatch
from backend_engine.layers import RMSNorm, silu_and_mul
from backend_engine.loading.checkpoint import Checkpoint
from backend_engine.loading.weights import Matrix, read
from backend_engine.model_config import ModelConfig
from backend_engine.quant.base import Linear, LinearFormat, Table
from backend_engine.rope import RotaryEmbedding


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """The parts of one layer; q, k and v are one matmul, gate and up another."""

    attention_norm: RMSNorm
    qkv: Linear
    q_norm: RMSNorm | None
    k_norm: RMSNorm | None
    output: Linear
    mlp_norm: RMSNorm
    gate_up: Linear
    down: Linear


class LlamaModel:
    """Embedding, decoder layers, final norm and head."""

    def __init__(
        self,
        config: ModelConfig,
        embedding: Table,
        layers: Sequence[DecoderLayer],
        norm: RMSNorm,
        head: Linear,
    ) -> None:
        self.config = config
        self.embedding = embedding
        self.layers = tuple(layers)
        self.norm = norm
        self.head = head
        self.rope = RotaryEmbedding(config)

    def forward(
        self,
        batch: ForwardBatch,
        attention: AttentionBackend,
        after_layer: Callable[[int, torch.Tensor], None] | None = None,
    ) -> torch.Tensor:
        """Compute `batch` and return its final normed hidden states, fp32 [tokens, hidden].

        `after_layer` is told how many layers are done, and the residual stream after them, of that shape.
        """
        config = self.config
        tokens = len(batch.token_ids)
        num_rotated = config.num_heads + config.num_kv_heads
        cos, sin = self.rope.at(batch.positions)
        hidden = self.embedding.rows(batch.token_ids)
        for index, layer in enumerate(self.layers):
            heads = layer.qkv(layer.attention_norm(hidden)).view(tokens, -1, config.head_dim)
            q, k, v = heads.tensor_split((config.num_heads, num_rotated), dim=1)
            if layer.q_norm is not None and layer.k_norm is not None:
                q, k = layer.q_norm(q), layer.k_norm(k)
            attention.write_kv(index, self.rope.rotate(k, cos, sin), v, batch)
            attended = attention.forward(index, self.rope.rotate(q, cos, sin), batch)
            hidden = hidden + layer.output(attended.reshape(tokens, -1))
            hidden = hidden + layer.down(silu_and_mul(layer.gate_up(layer.mlp_norm(hidden))))
            if after_layer is not None:
                after_layer(index + 1, hidden)
        return self.norm(hidden)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits fp32 [rows, vocab] of final hidden states [rows, hidden]."""
        return self.head(hidden)


def build_model(
    checkpoint: Checkpoint, numbers: LinearFormat, *, progress: Callable[[int, int], None] | None = None
) -> LlamaModel:
    """Read and convert the weights, layer by layer so that few of them are in memory twice.

    `progress` is called with the layers done and their number. Raises CheckpointError for missing
    tensors or wrong shapes.
    """
    config = checkpoint.config
    layers = []
    for index in range(config.num_layers):
        layers.append(_build_layer(checkpoint, index, numbers))
        if progress is not None:
            progress(index + 1, config.num_layers)

    def table(name: str) -> Table:
        return numbers.table(Matrix(checkpoint, f"{name}.weight", config.vocab_size, config.hidden_size))

    norm = RMSNorm(read(checkpoint, "model.norm.weight", config.hidden_size), config.rms_norm_eps)
    embedding = table("model.embed_tokens")
    head = embedding if config.tie_word_embeddings else table("lm_head")
    return LlamaModel(config, embedding, layers, norm, head)


def _build_layer(checkpoint: Checkpoint, index: int, numbers: LinearFormat) -> DecoderLayer:
    config = checkpoint.config
    prefix = f"model.layers.{index}."
    hidden, inner, dim = config.hidden_size, config.intermediate_size, config.head_dim
    q_rows, kv_rows = config.num_heads * dim, config.num_kv_heads * dim

    def norm(name: str, size: int) -> RMSNorm:
        return RMSNorm(read(checkpoint, f"{prefix}{name}.weight", size), config.rms_norm_eps)

    def linear(*parts: tuple[str, int], width: int, bias: torch.Tensor | None = None) -> Linear:
        matrices = [Matrix(checkpoint, f"{prefix}{name}.weight", rows, width) for name, rows in parts]
        return numbers.linear(matrices, bias)

    projections = ("self_attn.q_proj", q_rows), ("self_attn.k_proj", kv_rows), ("self_attn.v_proj", kv_rows)
    bias = None
    if config.qkv_bias:
        bias = torch.cat([read(checkpoint, f"{prefix}{name}.bias", rows) for name, rows in projections])
    return DecoderLayer(
        attention_norm=norm("input_layernorm", hidden),
        qkv=linear(*projections, width=hidden, bias=bias),
        q_norm=norm("self_attn.q_norm", dim) if config.qk_norm else None,
        k_norm=norm("self_attn.k_norm", dim) if config.qk_norm else None,
        output=linear(("self_attn.o_proj", hidden), width=q_rows),
        mlp_norm=norm("post_attention_layernorm", hidden),
        gate_up=linear(("mlp.gate_proj", inner), ("mlp.up_proj", inner), width=hidden),
        down=linear(("mlp.down_proj", hidden), width=inner),
    )
