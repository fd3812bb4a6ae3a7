"""The structs of src/abi.h, field for field."""

from __future__ import annotations

import ctypes

_Pointer = ctypes.c_void_p
_Int = ctypes.c_int64


class LinearStruct(ctypes.Structure):
    _fields_ = (
        ("in_features", _Int),
        ("out_features", _Int),
        ("bits", _Int),
        ("codes", _Pointer),
        ("scales", _Pointer),
        ("bias", _Pointer),
    )


class LayerStruct(ctypes.Structure):
    _fields_ = (
        ("attention_norm", _Pointer),
        ("qkv", LinearStruct),
        ("q_norm", _Pointer),
        ("k_norm", _Pointer),
        ("output", LinearStruct),
        ("mlp_norm", _Pointer),
        ("gate_up", LinearStruct),
        ("down", LinearStruct),
    )


class ModelStruct(ctypes.Structure):
    _fields_ = (
        ("hidden", _Int),
        ("inner", _Int),
        ("heads", _Int),
        ("kv_heads", _Int),
        ("head_dim", _Int),
        ("num_layers", _Int),
        ("eps", ctypes.c_float),
        ("layers", ctypes.POINTER(LayerStruct)),
        ("norm", _Pointer),
        ("embedding", LinearStruct),
        ("head", LinearStruct),
        ("cos", _Pointer),
        ("sin", _Pointer),
    )


class PagesStruct(ctypes.Structure):
    _fields_ = (
        ("slots", _Int),
        ("bits", _Int),
        ("k", _Pointer),
        ("v", _Pointer),
        ("k_scales", _Pointer),
        ("v_scales", _Pointer),
    )


class BatchStruct(ctypes.Structure):
    _fields_ = (
        ("tokens", _Int),
        ("sequences", _Int),
        ("table_width", _Int),
        ("block_size", _Int),
        ("rows", _Int),
        ("token_ids", _Pointer),
        ("positions", _Pointer),
        ("slots", _Pointer),
        ("query_starts", _Pointer),
        ("context_lengths", _Pointer),
        ("block_tables", _Pointer),
        ("logit_rows", _Pointer),
        ("logit_places", _Pointer),
        ("best", _Pointer),
        ("logits", _Pointer),
    )


class DrawStruct(ctypes.Structure):
    _fields_ = (
        ("logits", _Pointer),
        ("top_k", _Int),
        ("top_p", ctypes.c_double),
        ("point", ctypes.c_double),
        ("temperature", ctypes.c_float),
        ("min_p", ctypes.c_float),
    )
