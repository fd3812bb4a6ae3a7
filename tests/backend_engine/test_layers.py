"""Norm and activation are the textbook's, and a row's result does not depend on the other rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from backend_engine.layers import RMSNorm, silu_and_mul
from tests.backend_engine.support.threads import torch_threads


def test_rms_norm() -> None:
    x, weight = torch.randn(5, 48), torch.rand(48) + 0.5
    torch.testing.assert_close(RMSNorm(weight, 1e-5)(x), F.rms_norm(x, (48,), weight, 1e-5))


def test_silu_and_mul() -> None:
    x = torch.randn(300, 2 * 160)
    torch.testing.assert_close(silu_and_mul(x), F.silu(x[:, :160]) * x[:, 160:])


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("width", [1536, 576, 160, 37])
def test_rows_are_bitwise_the_same_in_any_batch(threads: int, width: int) -> None:
    norm = RMSNorm(torch.rand(width), 1e-5)
    wide, narrow = torch.randn(129, 2 * width) * 5, torch.randn(129, width) * 5
    with torch_threads(threads):
        for rows in (2, 3, 17, 64, 129):
            _assert_rows_are_independent(silu_and_mul, wide[:rows])
            _assert_rows_are_independent(norm, narrow[:rows])


def _assert_rows_are_independent(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    together = function(x)
    for row in range(len(x)):
        assert torch.equal(function(x[row : row + 1])[0], together[row])
