"""Integer products are exact, and one that is not is found out and replaced."""

from __future__ import annotations

import pytest
import torch

from backend_engine.quant import int_matmul
from backend_engine.quant.int_matmul import (
    Fp32IntMatmul,
    IntMatmul,
    NativeIntMatmul,
    is_exact,
    native_is_exact,
    prepare_int_matmul,
)


@pytest.mark.parametrize("make", [NativeIntMatmul, Fp32IntMatmul])
@pytest.mark.parametrize("shape", [(64, 576), (40, 1536), (7, 2500), (3, 2)])
@pytest.mark.parametrize("rows", [1, 2, 8, 33])
def test_products_are_exact(
    make: type[NativeIntMatmul | Fp32IntMatmul], shape: tuple[int, int], rows: int
) -> None:
    weight = torch.randint(-127, 128, shape, dtype=torch.int8)
    x = torch.randint(-127, 128, (rows, shape[1]), dtype=torch.int8)
    assert torch.equal(make(weight)(x).long(), x.long() @ weight.long().t())


@pytest.mark.parametrize("make", [NativeIntMatmul, Fp32IntMatmul])
def test_extreme_values_do_not_saturate(make: type[NativeIntMatmul | Fp32IntMatmul]) -> None:
    assert is_exact(make(torch.full((16, 1536), 127, dtype=torch.int8)))


class _Saturating:
    """Adds neighbours up in 16 bits, as CPUs without VNNI do."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.in_features = weight.shape[1]
        self._weight = weight.int()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        products = (x.int() + 128).unsqueeze(1) * self._weight
        pairs = products.unflatten(-1, (-1, 2)).sum(-1).clamp(-32768, 32767)
        return (pairs.sum(-1) - 128 * self._weight.sum(-1)).int()


def test_a_saturating_product_is_found_out() -> None:
    assert not is_exact(_Saturating(torch.full((16, 64), 127, dtype=torch.int8)))


def test_the_fallback_is_taken_where_the_native_product_saturates(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randint(-127, 128, (16, 64), dtype=torch.int8)
    monkeypatch.setattr(int_matmul, "NativeIntMatmul", _Saturating)
    native_is_exact.cache_clear()
    try:
        chosen: IntMatmul = prepare_int_matmul(weight)
    finally:
        native_is_exact.cache_clear()
    assert isinstance(chosen, Fp32IntMatmul)
