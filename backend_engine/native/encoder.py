"""The text encoder of src/encoder.h, on numpy arrays; without torch, so that who only embeds stays small."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend_engine.native.abi import LinearStruct
from backend_engine.native.build import BuildError, supported_sets
from backend_engine.native.variant import Variant

_Pointer = ctypes.c_void_p
_Int = ctypes.c_int64
Floats = NDArray[np.float32]

PANEL = 16
BLOCK = 32
_GROUP = 4


class LayerStruct(ctypes.Structure):
    _fields_ = (
        ("qkv", LinearStruct),
        ("output", LinearStruct),
        ("up", LinearStruct),
        ("down", LinearStruct),
        ("attention_norm", _Pointer),
        ("attention_norm_bias", _Pointer),
        ("output_norm", _Pointer),
        ("output_norm_bias", _Pointer),
    )


class ModelStruct(ctypes.Structure):
    _fields_ = (
        ("hidden", _Int),
        ("inner", _Int),
        ("heads", _Int),
        ("num_layers", _Int),
        ("first_token_pools", _Int),
        ("eps", ctypes.c_float),
        ("layers", ctypes.POINTER(LayerStruct)),
        ("words", _Pointer),
        ("positions", _Pointer),
        ("type", _Pointer),
        ("norm", _Pointer),
        ("norm_bias", _Pointer),
    )


class TextsStruct(ctypes.Structure):
    _fields_ = (
        ("texts", _Int),
        ("tokens", _Int),
        ("starts", _Pointer),
        ("ids", _Pointer),
        ("states", _Pointer),
        ("vectors", _Pointer),
    )


@dataclass(frozen=True, slots=True)
class EightBitLinear:
    """Weights of a layer [out, in], `in` a multiple of 32: (code - 128) * scale, a scale for each 32 inputs.

    codes: uint8 [out, blocks, 32], 1 to 255; scales: fp16 [out, blocks]; bias: fp32 [out].
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    bias: Floats


@dataclass(frozen=True, slots=True)
class EncoderLayer:
    """One layer; norms are (weight, bias), fp32 [hidden] each."""

    qkv: EightBitLinear
    output: EightBitLinear
    up: EightBitLinear
    down: EightBitLinear
    attention_norm: tuple[Floats, Floats]
    output_norm: tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """A BERT encoder with GELU. words, positions: fp32 [ids, hidden]; type: fp32 [hidden]."""

    heads: int
    eps: float
    first_token_pools: bool
    """The vector is the first token's state, not the mean of all tokens'."""
    words: Floats
    positions: Floats
    type: Floats
    norm: tuple[Floats, Floats]
    layers: Sequence[EncoderLayer]

    @property
    def hidden(self) -> int:
        """Width of the states."""
        return int(self.words.shape[1])


class NativeEncoder:
    """Runs the encoder's kernels; one call at a time."""

    def __init__(self, weights: EncoderWeights, threads: int = 1, instruction_set: str | None = None) -> None:
        """Load the kernels, compiling them first if need be; raises BuildError.

        The head's width must be a multiple of 16, and hidden and inner ones of 32.
        """
        try:
            variant = Variant(instruction_set or supported_sets()[0])
        except OSError as error:
            raise BuildError(f"the library does not load: {error}") from error
        self._forward = variant.function("encoder_forward", None, _Pointer, ctypes.POINTER(TextsStruct))
        self._delete = variant.function("encoder_delete", None, _Pointer)
        self._delete_team = variant.function("team_delete", None, _Pointer)
        new_team = variant.function("team_new", _Pointer, ctypes.c_int)
        new_encoder = variant.function("encoder_new", _Pointer, _Pointer, ctypes.POINTER(ModelStruct))

        self._hidden = weights.hidden
        # What the kernels read through pointers has to live as long as they do.
        self._kept: list[NDArray[np.generic]] = []
        self._layers = (LayerStruct * len(weights.layers))(*(self._layer(layer) for layer in weights.layers))
        self._model = ModelStruct(
            hidden=weights.hidden,
            inner=len(weights.layers[0].up.codes),
            heads=weights.heads,
            num_layers=len(weights.layers),
            first_token_pools=weights.first_token_pools,
            eps=weights.eps,
            layers=self._layers,
            words=self._keep(weights.words),
            positions=self._keep(weights.positions),
            type=self._keep(weights.type),
            norm=self._keep(weights.norm[0]),
            norm_bias=self._keep(weights.norm[1]),
        )
        self._team: int = new_team(threads)
        self._handle: int = new_encoder(self._team, ctypes.byref(self._model))

    def __call__(self, ids: NDArray[np.int32], starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return last states fp32 [tokens, hidden] and unit vectors fp32 [texts, hidden].

        ids: the tokens of all texts, each below the number of words; starts: [texts + 1], where each text
        begins, no text empty or longer than the positions.
        """
        ids, starts = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(starts, np.int64)
        states = np.empty((len(ids), self._hidden), np.float32)
        vectors = np.empty((len(starts) - 1, self._hidden), np.float32)
        texts = TextsStruct(
            texts=len(vectors),
            tokens=len(ids),
            starts=starts.ctypes.data,
            ids=ids.ctypes.data,
            states=states.ctypes.data,
            vectors=vectors.ctypes.data,
        )
        self._forward(self._handle, ctypes.byref(texts))
        return states, vectors

    def __del__(self) -> None:
        # Absent if the constructor failed.
        if hasattr(self, "_handle"):
            self._delete(self._handle)
            self._delete_team(self._team)

    def _layer(self, layer: EncoderLayer) -> LayerStruct:
        return LayerStruct(
            qkv=self._linear(layer.qkv),
            output=self._linear(layer.output),
            up=self._linear(layer.up),
            down=self._linear(layer.down),
            attention_norm=self._keep(layer.attention_norm[0]),
            attention_norm_bias=self._keep(layer.attention_norm[1]),
            output_norm=self._keep(layer.output_norm[0]),
            output_norm_bias=self._keep(layer.output_norm[1]),
        )

    def _linear(self, linear: EightBitLinear) -> LinearStruct:
        outputs, blocks, _ = linear.codes.shape
        codes = linear.codes.reshape(outputs // PANEL, PANEL, blocks, BLOCK // _GROUP, _GROUP)
        scales = linear.scales.reshape(outputs // PANEL, PANEL, blocks)
        return LinearStruct(
            in_features=blocks * BLOCK,
            out_features=outputs,
            bits=8,
            codes=self._keep(codes.transpose(0, 2, 3, 1, 4)),
            scales=self._keep(scales.transpose(0, 2, 1)),
            bias=self._keep(linear.bias),
        )

    def _keep(self, array: NDArray[np.generic]) -> int:
        kept = np.ascontiguousarray(array)
        self._kept.append(kept)
        return kept.ctypes.data
