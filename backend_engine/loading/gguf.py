"""A GGUF file under the names and conventions of a Hugging Face checkpoint."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any

import torch

from backend_engine.chat_template import ChatTemplate
from backend_engine.errors import CheckpointError, UnsupportedModel
from backend_engine.loading.block_types import BLOCK_TYPES
from backend_engine.loading.dequantize import DEQUANTIZE
from backend_engine.loading.gguf_config import read_config
from backend_engine.loading.gguf_header import TensorInfo, read_header
from backend_engine.quant.blocks import BlockWeights
from backend_engine.tokenizer import Tokenizer
from backend_engine.tokenizer.from_gguf import tokenizer_from_gguf

_GLOBAL_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER_NAMES = {
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
_LAYER_NAME = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_INTERLEAVED_ARCHITECTURES = ("llama",)
"""GGUF's `llama` (which Mistral uses too) stores q and k for ggml's rope over neighbouring pairs."""


class GgufFile:
    """One memory-mapped GGUF file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            try:
                # A private writable mapping: torch refuses to look at read-only memory without a warning.
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except ValueError:
                raise CheckpointError(f"{path}: the file is empty") from None
        header = read_header(path, self._data)
        self._metadata: dict[str, Any] = header.metadata
        self._tensors = header.tensors
        for tensor in self._tensors.values():
            if tensor.type not in DEQUANTIZE:
                known = ", ".join(kind.name for kind in DEQUANTIZE)
                raise UnsupportedModel(
                    f"{path}: tensor {tensor.name} has type {tensor.type.name}; supported are {known}"
                )
        factors = None
        if "rope_freqs.weight" in self._tensors:
            factors = self._read("rope_freqs.weight").tolist()
        shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
        self.config = read_config(path, self._metadata, shapes, factors)

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer that the metadata describes."""
        return tokenizer_from_gguf(self._path, self._metadata)

    def chat_template(self) -> ChatTemplate | None:
        """Return the template in the metadata, if there is one."""
        source = self._metadata.get("tokenizer.chat_template")
        if source is None:
            return None
        if not isinstance(source, str):
            raise CheckpointError(f"{self._path}: tokenizer.chat_template is {source!r}, not a text")
        tokens = self._metadata.get("tokenizer.ggml.tokens", [])

        def special(name: str) -> str | None:
            token_id = self._metadata.get(f"tokenizer.ggml.{name}_token_id")
            return tokens[token_id] if token_id is not None and token_id < len(tokens) else None

        return ChatTemplate(source, bos_token=special("bos"), eos_token=special("eos"))

    def tensor(self, name: str) -> torch.Tensor:
        """Return the tensor of this Hugging Face name in fp32; raises CheckpointError if there is none."""
        return self._read(self._own_name(name))

    def blocks(self, name: str) -> BlockWeights | None:
        """Return the blocks of the tensor of this Hugging Face name, None if it has none that we keep."""
        info = self._tensors[self._own_name(name)]
        make = BLOCK_TYPES.get(info.type)
        return make(self._rows(info)) if make is not None and len(info.shape) == 2 else None

    def _own_name(self, name: str) -> str:
        own_name = _gguf_name(name)
        if own_name not in self._tensors:
            raise CheckpointError(f"{self._path}: tensor {own_name or name} is missing")
        return own_name

    def _read(self, name: str) -> torch.Tensor:
        info = self._tensors[name]
        return DEQUANTIZE[info.type](self._rows(info).reshape(-1)).view(info.shape)

    def _rows(self, info: TensorInfo) -> torch.Tensor:
        """Return the bytes of a tensor's rows, in the order of `rotate_half`."""
        size = info.num_rows * info.row_bytes
        rows = torch.frombuffer(self._data, dtype=torch.uint8, count=size, offset=info.offset)
        rows = rows.view(info.num_rows, info.row_bytes)
        heads = self._interleaved_heads(info.name)
        if not heads:
            return rows
        # A bias is one GGUF row, but is permuted like the rows of its weight.
        per_row = info.row_bytes // (info.shape[-1] if len(info.shape) == 1 else 1)
        return _pairs_to_halves(rows.view(-1, per_row), heads, self._path, info.name)

    def _interleaved_heads(self, name: str) -> int:
        if self._metadata["general.architecture"] not in _INTERLEAVED_ARCHITECTURES:
            return 0
        if ".attn_q." in name:
            return self.config.num_heads
        return self.config.num_kv_heads if ".attn_k." in name else 0


def _gguf_name(name: str) -> str:
    """Return GGUF's name for a Hugging Face one, or "" if it has none."""
    if name in _GLOBAL_NAMES:
        return _GLOBAL_NAMES[name]
    match = _LAYER_NAME.fullmatch(name)
    if match is None or match[2] not in _LAYER_NAMES:
        return ""
    return f"blk.{match[1]}.{_LAYER_NAMES[match[2]]}.{match[3]}"


def _pairs_to_halves(rows: torch.Tensor, heads: int, path: Path, name: str) -> torch.Tensor:
    """Reorder each head's rows from rotated neighbours (0, 1), (2, 3)… to halves (0, d/2), (1, d/2 + 1)….

    Whole rows move, so this works on their quantised bytes.
    """
    if rows.shape[0] % (2 * heads):
        raise CheckpointError(f"{path}: tensor {name} has {rows.shape[0]} rows for {heads} heads")
    return rows.view(heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)
