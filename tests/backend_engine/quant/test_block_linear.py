"""Layers of block weights: close to fp32, and each row exactly the same whatever comes with it.

The native kernels are held to the bits of torch, in every variant that this machine can run.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from backend_engine.native.build import supported_sets
from backend_engine.native.library import Library, Team
from backend_engine.native.packed_linear import PackedLinear
from backend_engine.quant.block_linear import BlockLinear, quantize_blocks
from backend_engine.quant.blocks import BlockWeights, round_to_eight_bits, round_to_four_bits
from tests.backend_engine.support.threads import torch_threads

SHAPES = [(96, 576), (64, 1536), (37, 130), (5, 3)]


@pytest.fixture(scope="module", params=supported_sets())
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)


def random_layer(shape: tuple[int, int], bits: int) -> tuple[BlockWeights, torch.Tensor]:
    weight = torch.randn(shape)
    return (round_to_eight_bits if bits == 8 else round_to_four_bits)(weight), torch.randn(shape[0])


def test_activations_are_rounded_to_127_levels_each_way_in_blocks() -> None:
    x = torch.zeros(2, 40)
    x[0, :3] = torch.tensor([1.0, -2.0, 0.5])
    x[0, 32] = 1e-3
    codes, scales = quantize_blocks(x)
    assert codes[0, 0, :3].tolist() == [64, -127, 32]
    assert codes[0, 1, 0] == 127
    assert codes[1].abs().sum() == 0
    torch.testing.assert_close((codes * scales.unsqueeze(-1)).flatten(1)[:, :40], x, atol=0.01, rtol=0)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_layers_are_close_to_the_product_with_their_weights(shape: tuple[int, int], bits: int) -> None:
    weights, bias = random_layer(shape, bits)
    x = torch.randn(20, shape[1])
    expected = F.linear(x, weights.dequantize()[:, : shape[1]], bias)
    layer = BlockLinear(weights, shape[1], bias)
    assert (layer.in_features, layer.out_features) == (shape[1], shape[0])
    assert (layer(x) - expected).norm() / expected.norm() < 0.01


@pytest.mark.parametrize("bits", [8, 4])
def test_an_outlier_spoils_its_own_block_only(bits: int) -> None:
    weights, _ = random_layer((64, 1536), bits)
    x = torch.randn(8, 1536)
    spoiled = x.clone()
    spoiled[:, 700] = 300.0
    layer, outlier = BlockLinear(weights, 1536), weights.dequantize()[:, 700]
    moved = layer(spoiled) - layer(x) - (300.0 - x[:, 700:701]) * outlier
    assert moved.norm() / layer(x).norm() < 0.2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bits", [8, 4])
def test_rows_are_bitwise_the_same_in_any_batch(bits: int, threads: int) -> None:
    weights, bias = random_layer((37, 576), bits)
    layer = BlockLinear(weights, 576, bias)
    x = torch.randn(65, 576) * torch.rand(65, 1) * 100
    with torch_threads(threads):
        alone = torch.cat([layer(x[row : row + 1]) for row in range(len(x))])
        for rows in (2, 7, 31, 64, 65):
            assert torch.equal(layer(x[:rows]), alone[:rows])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_native_layers_give_the_bits_of_torch_for_any_number_of_rows(
    library: Library, shape: tuple[int, int], bits: int, threads: int
) -> None:
    weights, bias = random_layer(shape, bits)
    x = torch.randn(33, shape[1]) * torch.rand(33, 1) * 100
    x[3] = 0
    expected = BlockLinear(weights, shape[1], bias)(x)
    layer = PackedLinear(Team(library, threads), weights, shape[1], bias)
    for rows in (1, 2, 3, 4, 5, 6, 7, 8, 13, 33):
        assert torch.equal(layer(x[:rows]), expected[:rows])


def test_native_products_of_extreme_values_do_not_saturate(library: Library) -> None:
    extreme = torch.full((16, 1536), 127.0)
    x = torch.cat((extreme[:1], -extreme[:1]))
    for sign in (1, -1):
        weights = round_to_eight_bits(sign * extreme)
        layer = PackedLinear(Team(library, 1), weights, 1536)
        assert layer(x)[:, 0].tolist() == [sign * 1536 * 127**2, -sign * 1536 * 127**2]


def test_rows_are_looked_up_as_they_were_rounded(library: Library) -> None:
    weights = round_to_eight_bits(torch.randn(50, 70))
    ids = torch.tensor([0, 49, 17, 16, 17])
    expected = weights.dequantize()[ids, :70]
    assert torch.equal(BlockLinear(weights, 70).rows(ids), expected)
    assert torch.equal(PackedLinear(Team(library, 1), weights, 70).rows(ids), expected)
