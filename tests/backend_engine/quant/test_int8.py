"""Int8 layers: close to fp32, and each row exactly the same whatever comes with it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from backend_engine.quant import int8
from backend_engine.quant.int8 import Int8Format, quantize_rows
from backend_engine.quant.int_matmul import Fp32IntMatmul, NativeIntMatmul
from tests.backend_engine.support.threads import torch_threads

SHAPES = [(960, 576), (576, 1536), (3072, 576), (37, 130), (5, 3)]


def test_rows_are_rounded_symmetrically_to_127_levels_each_way() -> None:
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [1e-3, 4e-4, -1e-3]])
    values, scale = quantize_rows(x)
    assert values.dtype == torch.int8
    assert values.tolist() == [[64, -127, 32], [0, 0, 0], [127, 51, -127]]
    assert ((values * scale - x).abs() <= scale / 2).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_layers_are_close_to_fp32(shape: tuple[int, int]) -> None:
    weight, x = torch.randn(shape), torch.randn(20, shape[1])
    expected = F.linear(x, weight)
    for layer in (Int8Format().linear([weight]), Int8Format().down_projection(weight)):
        assert (layer.in_features, layer.out_features) == (shape[1], shape[0])
        assert (layer(x) - expected).norm() / expected.norm() < 0.02


def test_stacked_weights_and_bias() -> None:
    parts = [torch.randn(rows, 64) for rows in (8, 4, 4)]
    bias, x = torch.randn(16), torch.randn(3, 64)
    stacked = Int8Format().linear(iter(parts), bias)(x)
    apart = torch.cat([Int8Format().linear([part])(x) for part in parts], dim=1) + bias
    assert torch.equal(stacked, apart)


def test_a_row_of_outliers_does_not_spoil_its_neighbours() -> None:
    layer = Int8Format().linear([torch.randn(32, 64)])
    x = torch.randn(2, 64)
    spoiled = torch.cat((x[:1], x[1:] * 1e6))
    assert torch.equal(layer(x)[0], layer(spoiled)[0])


def test_down_projection_stands_outliers_within_a_row() -> None:
    weight, x = torch.randn(64, 1536), torch.randn(8, 1536)
    x[:, 700] = 300.0
    expected = F.linear(x, weight)
    plain = (Int8Format().linear([weight])(x) - expected).norm()
    spread = (Int8Format().down_projection(weight)(x) - expected).norm()
    assert spread < plain / 4


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_bitwise_the_same_in_any_batch(shape: tuple[int, int], threads: int) -> None:
    weight, x = torch.randn(shape), torch.randn(129, shape[1]) * torch.rand(129, 1) * 100
    with torch_threads(threads):
        for layer in (Int8Format().linear([weight]), Int8Format().down_projection(weight)):
            alone = torch.cat([layer(x[row : row + 1]) for row in range(len(x))])
            for rows in (2, 3, 4, 7, 8, 16, 31, 32, 33, 64, 128, 129):
                assert torch.equal(layer(x[:rows]), alone[:rows])


def test_thread_counts_agree() -> None:
    weight, x = torch.randn(576, 1536), torch.randn(70, 1536)
    layer = Int8Format().down_projection(weight)
    with torch_threads(1):
        one = layer(x)
    with torch_threads(2):
        assert torch.equal(layer(x), one)


def test_layers_on_the_exact_fallback_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x = torch.randn(96, 1536), torch.randn(9, 1536)
    native = Int8Format().linear([weight])(x)
    monkeypatch.setattr(int8, "prepare_int_matmul", Fp32IntMatmul)
    assert torch.equal(Int8Format().linear([weight])(x), native)


def test_embeddings_are_half_precision() -> None:
    table = torch.randn(10, 4)
    assert torch.equal(Int8Format().embedding(table), table.half())


def test_this_machine_uses_the_native_product() -> None:
    assert isinstance(int8.prepare_int_matmul(torch.zeros(4, 8, dtype=torch.int8)), NativeIntMatmul)
