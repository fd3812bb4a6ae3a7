"""A linear layer of block weights in the layout of the native kernel (src/linear.h)."""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F

from backend_engine.native.abi import LinearStruct
from backend_engine.native.library import Team
from backend_engine.quant.blocks import BLOCK, OFFSET, BlockWeights

PANEL = 16
"""Outputs that the kernel computes side by side."""
_GROUP = 4
"""Inputs that it multiplies and adds in one instruction."""


class PackedLinear:
    """y = x W^T + b, bitwise what `quant.block_linear.BlockLinear` computes."""

    def __init__(
        self, team: Team, weights: BlockWeights, in_features: int, bias: torch.Tensor | None = None
    ) -> None:
        self.in_features, self.out_features = in_features, len(weights.codes)
        self._team = team
        missing = -self.out_features % PANEL
        self._codes = team.memory.copy(_pack_codes(weights, missing))
        self._scales = team.memory.copy(_pack_scales(weights, missing))
        self._bias = None if bias is None else F.pad(bias.float(), (0, missing))
        self.struct = LinearStruct(
            in_features=self.in_features,
            out_features=self.out_features,
            bits=weights.bits,
            codes=self._codes.data_ptr(),
            scales=self._scales.data_ptr(),
            bias=None if self._bias is None else self._bias.data_ptr(),
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        y = torch.empty(len(x), self.out_features)
        library = self._team.library
        library.linear(self._team.handle, ctypes.byref(self.struct), x.data_ptr(), len(x), y.data_ptr())
        return y

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return rows `ids` of weights of eight bits, fp32 [ids, in_features]."""
        panel, lane = ids // PANEL, ids % PANEL
        codes = self._codes[panel, :, :, lane].flatten(2).float()
        scales = self._scales[panel, :, lane].float().unsqueeze(-1)
        return codes.sub_(OFFSET).mul_(scales).flatten(1)[:, : self.in_features]


def _pack_codes(weights: BlockWeights, missing: int) -> torch.Tensor:
    """Return uint8 [panels, blocks, groups, 16, 4]: 8 groups, or 4 with two codes in a byte."""
    codes = F.pad(weights.codes.flatten(1), (0, 0, 0, missing))
    panels = codes.view(-1, PANEL, weights.codes.shape[1], BLOCK // _GROUP, _GROUP).permute(0, 2, 3, 1, 4)
    if weights.bits == 8:
        return panels
    low, high = panels.chunk(2, dim=2)
    return low | (high << 4)


def _pack_scales(weights: BlockWeights, missing: int) -> torch.Tensor:
    """Return fp16 [panels, blocks, 16], or [panels, blocks, 2, 16] with the minimums behind the scales."""

    def panels(values: torch.Tensor) -> torch.Tensor:
        return F.pad(values, (0, 0, 0, missing)).view(-1, PANEL, values.shape[1]).transpose(1, 2)

    if weights.minimums is None:
        return panels(weights.scales)
    return torch.stack((panels(weights.scales), panels(weights.minimums)), dim=2)
