"""Spreads outliers over many channels before rounding: a model that computes the same in a rotated basis.

A few channels of the residual stream are 10 to 20 times larger than the others, and with one scale per
token they leave the others a handful of levels. Turning the stream's basis by an orthogonal matrix spreads
each channel over all, at no cost: norms keep their value, and the turn is multiplied into the weights that
read and write the stream (QuaRot, arXiv 2404.00456). The input of `down_proj` is no linear function of the
stream, so it is turned as it comes (`int8.HadamardInt8Linear`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from backend_engine.loading.checkpoint import Checkpoint, TensorSource

_READERS_OF_ATTENTION_NORM = ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")
_READERS_OF_MLP_NORM = ("mlp.gate_proj.weight", "mlp.up_proj.weight")
_WRITERS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
_LARGEST_BLOCK = 64
_ROWS_IN_CACHE = 512
"""Whole weights at once would go through main memory for every intermediate, at a third more time."""


def hadamard_block(size: int) -> int:
    """Return the largest power of two, at most 64, that divides `size`."""
    return math.gcd(size, _LARGEST_BLOCK)


def hadamard(size: int) -> torch.Tensor:
    """Return Sylvester's Hadamard matrix, symmetric, of +1 and -1, for a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix


def cosine_basis(size: int) -> torch.Tensor:
    """Return the orthogonal matrix of the discrete cosine transform, which exists for every size."""
    steps = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * torch.outer(steps + 0.5, steps)) * math.sqrt(2 / size)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.float()


class Rotation:
    """An orthogonal map of vectors: a Hadamard matrix within blocks and a cosine basis across them."""

    def __init__(self, size: int) -> None:
        block = hadamard_block(size)
        self._within = hadamard(block) / math.sqrt(block)
        self._across = cosine_basis(size // block).t().contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate the rows of `x` [rows, size]."""
        out = torch.empty_like(x)
        for part, rotated in zip(
            torch.split(x, _ROWS_IN_CACHE), torch.split(out, _ROWS_IN_CACHE), strict=True
        ):
            blocks = part.view(len(part), len(self._across), len(self._within))
            rotated.copy_((self._across @ (blocks @ self._within)).view(part.shape))
        return out


def rotate_residual_stream(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint of the same function whose residual stream is rotated.

    Norm weights move into the matmuls behind them, so the head is a matrix of its own even where
    `checkpoint` ties it to the embedding.
    """
    config = replace(checkpoint.config, tie_word_embeddings=False)
    source = _RotatedSource(checkpoint, checkpoint.config.tie_word_embeddings)
    return replace(checkpoint, config=config, source=source)


class _RotatedSource:
    def __init__(self, source: TensorSource, tied: bool) -> None:
        self._source = source
        self._head_name = "model.embed_tokens.weight" if tied else "lm_head.weight"
        self._norms: dict[str, torch.Tensor] = {}
        self._rotation = Rotation(len(self._norm("model.norm.weight")))

    def tensor(self, name: str) -> torch.Tensor:
        if name == "model.embed_tokens.weight":
            return self._rotation(self._source.tensor(name))
        if name == "lm_head.weight":
            return self._reader(self._head_name, "model.norm.weight")
        if name.endswith(("layernorm.weight", "model.norm.weight")):
            return torch.ones_like(self._norm(name))
        if name.startswith("model.layers."):
            layer = name[: name.index(".", len("model.layers.")) + 1]
            part = name.removeprefix(layer)
            if part in _READERS_OF_ATTENTION_NORM:
                return self._reader(name, layer + "input_layernorm.weight")
            if part in _READERS_OF_MLP_NORM:
                return self._reader(name, layer + "post_attention_layernorm.weight")
            if part in _WRITERS:
                return self._rotation(self._source.tensor(name).t().contiguous()).t().contiguous()
        return self._source.tensor(name)

    def _reader(self, name: str, norm: str) -> torch.Tensor:
        return self._rotation(self._source.tensor(name).mul_(self._norm(norm)))

    def _norm(self, name: str) -> torch.Tensor:
        if name not in self._norms:
            self._norms[name] = self._source.tensor(name)
        return self._norms[name]
