"""The decoder of the Llama family: Llama, Mistral, Qwen2 (biased q, k, v) and Qwen3 (normed q and k)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from backend_engine.attention.base import AttentionBackend
from backend_engine.batch import ForwardBatch
from backend_engine.errors import CheckpointError
from backend_engine.layers import RMSNorm, silu_and_mul
from backend_engine.loading.checkpoint import Checkpoint
from backend_engine.model_config import ModelConfig
from backend_engine.quant.base import Linear, LinearFormat
from backend_engine.quant.fp32 import Fp32Format
from backend_engine.quant.int8 import Int8Format
from backend_engine.rope import RotaryEmbedding


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """The parts of one layer; q, k and v are one matmul, gate and up another."""

    attention_norm: RMSNorm
    qkv: Linear
    qk_norm: RMSNorm | None
    output: Linear
    mlp_norm: RMSNorm
    gate_up: Linear
    down: Linear


class LlamaModel:
    """Embedding, decoder layers, final norm and head."""

    def __init__(
        self,
        config: ModelConfig,
        embedding: torch.Tensor,
        layers: Sequence[DecoderLayer],
        norm: RMSNorm,
        head: Linear,
    ) -> None:
        """Put the parts together; `embedding` is [vocab, hidden] in any float type."""
        self.config = config
        self._embedding = embedding
        self._layers = tuple(layers)
        self._norm = norm
        self._head = head
        self._rope = RotaryEmbedding(config)

    def forward(self, batch: ForwardBatch, attention: AttentionBackend) -> torch.Tensor:
        """Compute `batch` and return its final normed hidden states, fp32 [tokens, hidden]."""
        config = self.config
        tokens = len(batch.token_ids)
        num_rotated = config.num_heads + config.num_kv_heads
        cos, sin = self._rope.at(batch.positions)
        hidden = self._embedding[batch.token_ids].float()
        for index, layer in enumerate(self._layers):
            heads = layer.qkv(layer.attention_norm(hidden)).view(tokens, -1, config.head_dim)
            # q and k go through the same norm (its weight differs by head) and rotation together.
            qk = heads[:, :num_rotated]
            if layer.qk_norm is not None:
                qk = layer.qk_norm(qk)
            qk = self._rope.rotate(qk, cos, sin)
            attention.write_kv(index, qk[:, config.num_heads :], heads[:, num_rotated:], batch)
            attended = attention.forward(index, qk[:, : config.num_heads], batch)
            hidden += layer.output(attended.reshape(tokens, -1))
            hidden += layer.down(silu_and_mul(layer.gate_up(layer.mlp_norm(hidden))))
        return self._norm(hidden)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits fp32 [rows, vocab] of final hidden states [rows, hidden]."""
        return self._head(hidden)


def build_model(
    checkpoint: Checkpoint,
    *,
    quantization: Literal["int8", "none"],
    progress: Callable[[int, int], None] | None = None,
) -> LlamaModel:
    """Read and convert the weights, layer by layer so that few of them are in memory twice.

    `progress` is called with the layers done and their number. Raises CheckpointError for missing
    tensors or wrong shapes.
    """
    numbers: LinearFormat = Int8Format() if quantization == "int8" else Fp32Format()
    checkpoint = numbers.adapt(checkpoint)
    config, weights = checkpoint.config, _Weights(checkpoint)
    layers = []
    for index in range(config.num_layers):
        layers.append(_build_layer(weights, index, config, numbers))
        if progress is not None:
            progress(index + 1, config.num_layers)
    norm = RMSNorm(weights.read("model.norm.weight", config.hidden_size), config.rms_norm_eps)
    table = weights.read("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
    embedding = numbers.embedding(table)
    if config.tie_word_embeddings:
        head = numbers.linear([table])
    else:
        del table
        head = numbers.linear([weights.read("lm_head.weight", config.vocab_size, config.hidden_size)])
    return LlamaModel(config, embedding, layers, norm, head)


def _build_layer(weights: _Weights, index: int, config: ModelConfig, numbers: LinearFormat) -> DecoderLayer:
    prefix = f"model.layers.{index}."
    hidden, inner, dim = config.hidden_size, config.intermediate_size, config.head_dim
    q_rows, kv_rows = config.num_heads * dim, config.num_kv_heads * dim

    def norm(name: str) -> RMSNorm:
        return RMSNorm(weights.read(f"{prefix}{name}.weight", hidden), config.rms_norm_eps)

    def stacked(*parts: tuple[str, int], width: int) -> Iterator[torch.Tensor]:
        return (weights.read(f"{prefix}{name}.weight", rows, width) for name, rows in parts)

    projections = ("self_attn.q_proj", q_rows), ("self_attn.k_proj", kv_rows), ("self_attn.v_proj", kv_rows)
    bias = None
    if config.qkv_bias:
        bias = torch.cat([weights.read(f"{prefix}{name}.bias", rows) for name, rows in projections])
    qk_norm = None
    if config.qk_norm:
        q_weight = weights.read(f"{prefix}self_attn.q_norm.weight", dim).expand(config.num_heads, dim)
        k_weight = weights.read(f"{prefix}self_attn.k_norm.weight", dim).expand(config.num_kv_heads, dim)
        qk_norm = RMSNorm(torch.cat((q_weight, k_weight)), config.rms_norm_eps)
    return DecoderLayer(
        attention_norm=norm("input_layernorm"),
        qkv=numbers.linear(stacked(*projections, width=hidden), bias),
        qk_norm=qk_norm,
        output=numbers.linear(stacked(("self_attn.o_proj", hidden), width=q_rows)),
        mlp_norm=norm("post_attention_layernorm"),
        gate_up=numbers.linear(stacked(("mlp.gate_proj", inner), ("mlp.up_proj", inner), width=hidden)),
        down=numbers.down_projection(weights.read(f"{prefix}mlp.down_proj.weight", hidden, inner)),
    )


class _Weights:
    """A checkpoint whose tensors are checked against the config as they are read."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def read(self, name: str, *shape: int) -> torch.Tensor:
        tensor = self._checkpoint.tensor(name)
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"tensor {name} is {tuple(tensor.shape)}, the config says {shape}")
        return tensor
