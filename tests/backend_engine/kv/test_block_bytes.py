"""A block's bytes are all of its KV and none of its neighbours', in any layout."""

from __future__ import annotations

import pytest
import torch

from backend_engine.kv.block_bytes import BlockBytes


def pages(num_blocks: int) -> list[torch.Tensor]:
    """Keys by slot, int8 values by tile of four, their scales, and an empty tensor."""
    return [
        torch.randn(3, num_blocks * 8, 2, 4),
        torch.randint(-127, 127, (3, num_blocks * 2, 2, 4, 4), dtype=torch.int8),
        torch.randn(3, num_blocks * 2, 2, 4).half(),
        torch.zeros(0, 4),
    ]


def test_a_block_comes_back_elsewhere_and_alone() -> None:
    tensors = pages(5)
    before = [tensor.clone() for tensor in tensors]
    blocks = BlockBytes(tensors, 5)
    data = blocks.read(1)
    assert len(data) == blocks.nbytes == sum(t.numel() * t.element_size() for t in tensors) // 5
    blocks.write(4, data)
    assert blocks.read(4) == data
    for tensor, old in zip(tensors, before, strict=True):
        units = tensor.shape[1] // 5
        assert torch.equal(tensor[:, : 4 * units], old[:, : 4 * units])
        if tensor.numel():
            assert torch.equal(tensor[:, 4 * units :], old[:, units : 2 * units])


def test_layouts_tell_formats_apart_but_not_pool_sizes() -> None:
    wide = [torch.zeros(3, 40, 2, 4)]
    assert BlockBytes(wide, 5).layout == BlockBytes([torch.zeros(3, 80, 2, 4)], 10).layout
    others = [torch.zeros(3, 40, 2, 4).half()], [torch.zeros(3, 40, 4, 2)], [torch.zeros(3, 20, 2, 4)]
    assert BlockBytes(wide, 5).layout not in {BlockBytes(other, 5).layout for other in others}


def test_bytes_of_another_length_are_refused() -> None:
    blocks = BlockBytes(pages(2), 2)
    with pytest.raises(ValueError, match="7 bytes"):
        blocks.write(0, bytes(7))
