"""Tiny random models, as Hugging Face directories and as GGUF files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from tests.backend_engine.support.trained_tokenizers import gguf_metadata, train_byte_level

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_SIZES = {
    "vocab_size": 700,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GGUF_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def random_model(model_type: str, **changes: Any) -> Any:
    """Return a transformers model of this type with random weights, norms and biases included."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(model_type, **{**_SIZES, **changes})
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, 0.15)
    return model


def save_directory(model: Any, directory: Path, **options: Any) -> Path:
    """Write `model` and a tokenizer that fits its vocabulary."""
    model.save_pretrained(directory, **options)
    train_byte_level().save(str(directory / "tokenizer.json"))
    return directory


@torch.inference_mode()
def reference_logits(model: Any, prompt: list[int]) -> torch.Tensor:
    """Return transformers' logits [tokens, vocab]."""
    logits: torch.Tensor = model(torch.tensor([prompt])).logits[0]
    return logits


def save_gguf(model: Any, path: Path, kind: gguf.GGMLQuantizationType) -> Path:
    """Write `model` as llama.cpp's converter would, matrices in `kind`; `model` gets the rounded weights."""
    config = model.config
    architecture = "llama" if config.model_type == "mistral" else config.model_type
    writer = gguf.GGUFWriter(path, architecture)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    _write_tokenizer(writer)
    if config.rope_parameters["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(config.rope_parameters["rope_type"]))
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])
    if config.rope_parameters["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(config.rope_parameters["original_max_position_embeddings"])
    if config.rope_parameters["rope_type"] == "llama3":
        plain = 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(0, head_dim, 2) / head_dim)
        factors = (plain / model.model.rotary_emb.inv_freq).numpy().astype(np.float32)
        writer.add_tensor("rope_freqs.weight", factors)
    state = model.state_dict()
    for name, tensor in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.numpy().astype(np.float32)
        chosen = kind if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        encoded = gguf.quants.quantize(values, chosen)
        decoded = gguf.quants.dequantize(encoded, chosen)
        state[name].copy_(torch.from_numpy(decoded.reshape(values.shape).copy()))
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for part, count in heads.items():
            if part in name and architecture == "llama":
                encoded = _halves_to_pairs(encoded, count)
        writer.add_tensor(_gguf_name(name), encoded, raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tokenizer(writer: gguf.GGUFWriter) -> None:
    for key, value in gguf_metadata(train_byte_level(), "gpt2", "gpt-2").items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_uint32(key, value)


def _halves_to_pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's permutation of q and k."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def _gguf_name(name: str) -> str:
    if not name.startswith("model.layers."):
        names = {
            "model.embed_tokens.weight": "token_embd.weight",
            "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight",
        }
        return names[name]
    _, _, index, rest = name.split(".", 3)
    part, suffix = rest.rsplit(".", 1)
    return f"blk.{index}.{_GGUF_LAYER[part]}.{suffix}"
