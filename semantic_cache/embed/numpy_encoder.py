"""The text encoder in numpy: the bits of `native/src/encoder.cpp`, for machines without a C++ compiler.

Some fifty times slower than the kernels. That it gives the same bits is what lets machines with and without a
compiler share one store, and what tests hold the kernels against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend_engine.native.encoder import BLOCK, EightBitLinear, EncoderLayer, EncoderWeights
from semantic_cache.embed.fused import LANES, Floats, exponential, lane_sum, multiply_add

_LEVELS = np.float32(127)
_OFFSET = np.float32(128)


class NumpyEncoder:
    """Computes what NativeEncoder computes."""

    def __init__(self, weights: EncoderWeights) -> None:
        self._weights = weights

    def __call__(self, ids: NDArray[np.int32], starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return last states fp32 [tokens, hidden] and unit vectors fp32 [texts, hidden]."""
        w = self._weights
        bounds = list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
        places = np.concatenate([np.arange(end - begin) for begin, end in bounds])
        states = _norm((w.words[ids] + w.type) + w.positions[places], w.norm, w.eps)
        for layer in w.layers:
            states = self._layer(layer, states, bounds)
        pooled = [states[begin : begin + 1 if w.first_token_pools else end] for begin, end in bounds]
        return states, np.stack([_pool(rows) for rows in pooled])

    def _layer(self, layer: EncoderLayer, states: Floats, bounds: list[tuple[int, int]]) -> Floats:
        w = self._weights
        qkv = _linear(layer.qkv, states)
        attended = np.concatenate([_attend(qkv[begin:end], w.heads) for begin, end in bounds])
        states = _norm(_linear(layer.output, attended) + states, layer.attention_norm, w.eps)
        inner = _gelu(_linear(layer.up, states))
        return _norm(_linear(layer.down, inner) + states, layer.output_norm, w.eps)


def _linear(layer: EightBitLinear, x: Floats) -> Floats:
    blocks = x.reshape(len(x), -1, BLOCK)
    most = np.abs(blocks).max(axis=2)
    with np.errstate(divide="ignore"):
        inverse = np.where(most > 0, _LEVELS / most, np.float32(0))
    codes, scales = np.rint(blocks * inverse[:, :, None]), most / _LEVELS
    y = np.zeros((len(x), len(layer.codes)), np.float32)
    for block in range(blocks.shape[1]):
        weights = layer.codes[:, block].astype(np.float32) - _OFFSET
        # Whole numbers below 2^24: exact in any order.
        sums = (codes[:, block] @ weights.T) * scales[:, block, None]
        y = multiply_add(sums, layer.scales[:, block].astype(np.float32), y)
    return np.add(y, layer.bias)


def _attend(qkv: Floats, heads: int) -> Floats:
    keys, width = qkv.shape
    dim = width // 3 // heads
    q, k, v = (part.reshape(keys, heads, dim).transpose(1, 0, 2) for part in np.split(qkv, 3, axis=1))
    scores = np.zeros((heads, keys, keys), np.float32)
    for d in range(dim):
        scores = multiply_add(q[:, :, d, None], k[:, None, :, d], scores)
    scores = scores * np.float32(np.float32(1) / np.sqrt(np.float32(dim)))
    powers = exponential(scores - scores.max(axis=2, keepdims=True))
    padded = np.zeros((heads, keys, -(-keys // LANES), LANES), np.float32)
    padded.reshape(heads, keys, -1)[:, :, :keys] = powers
    lanes = padded[:, :, 0]
    for group in range(1, padded.shape[2]):
        lanes = lanes + padded[:, :, group]
    out = np.zeros((heads, keys, dim), np.float32)
    for key in range(keys):
        out = multiply_add(powers[:, :, key, None], v[:, None, key], out)
    attended = np.divide(out, lane_sum(lanes)[:, :, None], dtype=np.float32)
    return attended.transpose(1, 0, 2).reshape(keys, width // 3)


def _gelu(x: Floats) -> Floats:
    one = np.float32
    size = np.abs(x)
    z = size * one(0.70710678)
    t = one(1) / multiply_add(z, np.full_like(z, 0.3275911), np.ones_like(z))
    p = np.full_like(z, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        p = multiply_add(p, t, np.full_like(z, coefficient))
    erfc = (p * t) * exponential(-(z * z))
    result: Floats = np.maximum(x, one(0)) - (size * one(0.5)) * erfc
    return result


def _norm(x: Floats, weight_and_bias: tuple[Floats, Floats], eps: float) -> Floats:
    count = np.float32(x.shape[1])
    lanes = x.reshape(len(x), -1, LANES)
    sums = np.zeros((len(x), LANES), np.float32)
    for group in range(lanes.shape[1]):
        sums = sums + lanes[:, group]
    apart = x - (lane_sum(sums) / count)[:, None]
    variance = lane_sum(_squares(apart)) / count
    inverse = np.float32(1) / np.sqrt(variance + np.float32(eps))
    return multiply_add(apart * inverse[:, None], *(np.asarray(part) for part in weight_and_bias))


def _pool(rows: Floats) -> Floats:
    total = np.zeros(rows.shape[1], np.float32)
    for row in rows:
        total = total + row
    mean = total / np.float32(len(rows))
    length = np.sqrt(lane_sum(_squares(mean[None]))[0])
    unit: Floats = mean / np.maximum(length, np.float32(1e-12))
    return unit


def _squares(x: Floats) -> Floats:
    lanes = x.reshape(len(x), -1, LANES)
    sums = np.zeros((len(x), LANES), np.float32)
    for group in range(lanes.shape[1]):
        sums = multiply_add(lanes[:, group], lanes[:, group], sums)
    return sums
