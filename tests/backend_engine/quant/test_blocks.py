"""Weights are rounded block by block, to half a step at most."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from backend_engine.quant.blocks import BlockWeights, round_to_eight_bits, round_to_four_bits, stack

ROUNDERS = [round_to_eight_bits, round_to_four_bits]
Rounder = Callable[[torch.Tensor], BlockWeights]


@pytest.mark.parametrize("rounder", ROUNDERS)
def test_rounding_is_within_half_a_step_and_the_rounding_of_the_scale(rounder: Rounder) -> None:
    weight = torch.randn(7, 96) * torch.rand(7, 1) * 10
    blocks = rounder(weight)
    error = (blocks.dequantize() - weight).abs().view(7, 3, 32)
    magnitude = weight.abs().view(7, 3, 32).amax(-1, keepdim=True)
    assert (error <= 0.5 * blocks.scales.float().unsqueeze(-1) + 0.002 * magnitude).all()


def test_eight_bits_use_codes_that_products_allow_for() -> None:
    codes = round_to_eight_bits(torch.randn(50, 64)).codes
    assert codes.min() >= 1
    assert codes.max() == 255


def test_four_bits_reach_from_the_least_to_the_greatest_value() -> None:
    blocks = round_to_four_bits(torch.linspace(-3, 12, 16).repeat(1, 2))
    assert blocks.bits == 4
    assert blocks.codes.flatten().tolist() == [*range(16), *range(16)]
    assert blocks.minimums is not None
    assert (blocks.scales.item(), blocks.minimums.item()) == (1.0, -3.0)


@pytest.mark.parametrize("rounder", ROUNDERS)
def test_zeros_and_tiny_numbers_stay_finite(rounder: Rounder) -> None:
    weight = torch.cat((torch.zeros(1, 32), torch.full((1, 32), 1e-12)))
    assert rounder(weight).dequantize().abs().max() < 1e-6


@pytest.mark.parametrize("rounder", ROUNDERS)
def test_a_width_that_is_no_multiple_of_32_is_padded(rounder: Rounder) -> None:
    blocks = rounder(torch.randn(3, 37))
    assert blocks.codes.shape == (3, 2, 32)
    assert blocks.scales.shape == (3, 2)


@pytest.mark.parametrize("rounder", ROUNDERS)
def test_stacking_is_rounding_the_stack(rounder: Rounder) -> None:
    parts = [torch.randn(rows, 64) for rows in (4, 2, 3)]
    stacked = stack([rounder(part) for part in parts])
    assert torch.equal(stacked.dequantize(), rounder(torch.cat(parts)).dequantize())
