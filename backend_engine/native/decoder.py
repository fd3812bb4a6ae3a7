"""A model of the Llama family whose whole step is one native call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from backend_engine.batch import ForwardBatch
from backend_engine.layers import RMSNorm
from backend_engine.model_config import ModelConfig
from backend_engine.models.llama import DecoderLayer, LlamaModel
from backend_engine.native.abi import BatchStruct, LayerStruct, LinearStruct, ModelStruct
from backend_engine.native.library import Team
from backend_engine.native.packed_linear import PackedLinear
from backend_engine.native.pages import TILE, NativePages
from backend_engine.quant.base import Linear
from backend_engine.quant.blocks import BLOCK


def unsupported_by_native(config: ModelConfig, block_size: int) -> str | None:
    """Return why the native decoder cannot run a model, or None if it can."""
    if config.head_dim % TILE:
        return f"head_dim {config.head_dim} is no multiple of {TILE}"
    if config.hidden_size % BLOCK or config.intermediate_size % BLOCK:
        return f"hidden sizes {config.hidden_size}, {config.intermediate_size} are no multiples of {BLOCK}"
    if block_size % TILE:
        return f"block_size {block_size} is no multiple of {TILE}"
    return None


class NativeDecoder:
    """Runs a `LlamaModel` of packed linears over native pages."""

    def __init__(self, model: LlamaModel, pages: NativePages, team: Team) -> None:
        """Describe `model` to the library. Its linears must be `PackedLinear`."""
        self.block_size = pages.block_size
        self.page_tensors = pages.tensors
        self._vocab = model.config.vocab_size
        self._none = torch.empty(0, self._vocab)
        # The library reads weights where they are, so all that owns them must live as long as this.
        self._model, self._pages, self._team = model, pages, team
        self._cos, self._sin = (table.contiguous() for table in model.rope.tables)
        layers = (LayerStruct * len(model.layers))(*(_layer(layer) for layer in model.layers))
        self._struct = ModelStruct(
            hidden=model.config.hidden_size,
            inner=model.config.intermediate_size,
            heads=model.config.num_heads,
            kv_heads=model.config.num_kv_heads,
            head_dim=model.config.head_dim,
            num_layers=len(model.layers),
            eps=model.config.rms_norm_eps,
            layers=layers,
            norm=model.norm.weight.data_ptr(),
            embedding=_linear(model.embedding),
            head=_linear(model.head),
            cos=self._cos.data_ptr(),
            sin=self._sin.data_ptr(),
        )
        self._handle: int = team.library.decoder_new(team.handle, ctypes.byref(self._struct))

    def __del__(self) -> None:
        # Absent if the constructor failed.
        if hasattr(self, "_handle"):
            self._team.library.decoder_delete(self._handle)

    def forward(self, batch: ForwardBatch, best: npt.NDArray[np.int64] | None = None) -> torch.Tensor:
        """Compute `batch` and return the logits wanted, fp32 [rows, vocab]; for `best` see `Decoder`."""
        query_starts, context_lengths = _integers(batch.query_starts), _integers(batch.context_lengths)
        places = batch.logit_places
        # No operation of torch's where nobody reads logits: its threads would wake up.
        logits = torch.empty(max(places) + 1, self._vocab) if max(places, default=-1) >= 0 else self._none
        logit_places = _integers(places)
        struct = BatchStruct(
            tokens=len(batch.token_ids),
            sequences=len(batch.context_lengths),
            table_width=batch.block_tables.shape[1],
            block_size=self.block_size,
            rows=len(batch.logit_rows),
            token_ids=batch.token_ids.data_ptr(),
            positions=batch.positions.data_ptr(),
            slots=batch.slots.data_ptr(),
            query_starts=ctypes.addressof(query_starts),
            context_lengths=ctypes.addressof(context_lengths),
            block_tables=batch.block_tables.data_ptr(),
            logit_rows=batch.logit_rows.data_ptr(),
            logit_places=ctypes.addressof(logit_places),
            best=None if best is None else best.ctypes.data,
            logits=logits.data_ptr(),
        )
        library = self._team.library
        library.decoder_forward(self._handle, ctypes.byref(self._pages.struct), ctypes.byref(struct))
        return logits


def _layer(layer: DecoderLayer) -> LayerStruct:
    return LayerStruct(
        attention_norm=layer.attention_norm.weight.data_ptr(),
        qkv=_linear(layer.qkv),
        q_norm=_pointer(layer.q_norm),
        k_norm=_pointer(layer.k_norm),
        output=_linear(layer.output),
        mlp_norm=layer.mlp_norm.weight.data_ptr(),
        gate_up=_linear(layer.gate_up),
        down=_linear(layer.down),
    )


def _linear(linear: Linear) -> LinearStruct:
    if not isinstance(linear, PackedLinear):
        raise TypeError(f"the native decoder runs packed linears, not {type(linear).__name__}")
    return linear.struct


def _pointer(norm: RMSNorm | None) -> int | None:
    return None if norm is None else norm.weight.data_ptr()


def _integers(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(values))(*values)
