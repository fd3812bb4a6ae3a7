"""The small operations between matmuls, each computing a row the same whatever rows come with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_SERIAL_ELEMENTS = 32_767
"""Below torch's grain size: an operation on so few elements is never split over threads."""


class RMSNorm:
    """x / sqrt(mean(x²) + eps) * weight, over the last dimension (arXiv 1910.07467)."""

    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        self.weight = weight
        self._eps = eps

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        inverse = x.square().mean(-1, keepdim=True).add_(self._eps).rsqrt_()
        return (x * inverse).mul_(self.weight)


def silu_and_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) * up for `gate_up` [tokens, 2 * size], the gate's columns first: [tokens, size]."""
    gate, up = gate_up.chunk(2, dim=-1)
    rows_at_once = max(1, _SERIAL_ELEMENTS // gate.shape[1])
    if len(gate) <= rows_at_once:
        return F.silu(gate).mul_(up)
    # The exponential of a vector's remainder is rounded differently from that of whole vectors, and a
    # split over threads puts remainders in the middle of rows: go by blocks that are not split.
    out = torch.empty(gate.shape, dtype=gate.dtype)
    for start in range(0, len(gate), rows_at_once):
        rows = slice(start, start + rows_at_once)
        torch.mul(F.silu(gate[rows]), up[rows], out=out[rows])
    return out
