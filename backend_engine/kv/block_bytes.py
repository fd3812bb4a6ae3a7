"""The KV of one block as bytes, whatever the number format and layout of the pages."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class BlockBytes:
    """Copies blocks out of and into the tensors that hold all pages.

    Each tensor is [layers, units, ...], its units in the order of the blocks and as many for each: slots,
    or tiles of several. Empty tensors (scales of a format that has none) hold nothing of any block.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], num_blocks: int) -> None:
        self._tensors = [tensor for tensor in tensors if tensor.numel()]
        self._num_blocks = num_blocks
        views = self._views(0)
        self.nbytes = sum(view.numel() * view.element_size() for view in views)
        self.layout = ";".join(f"{view.dtype}{list(view.shape)}" for view in views)
        """Says how the bytes are to be read; blocks of another layout must not be written here."""

    def read(self, block: int) -> bytes:
        """Return a copy of the block's KV."""
        parts = [view.contiguous().flatten().view(torch.uint8) for view in self._views(block)]
        return torch.cat(parts).numpy().tobytes()

    def write(self, block: int, data: bytes) -> None:
        """Replace the block's KV with what `read` returned; raises ValueError if it is not as long."""
        if len(data) != self.nbytes:
            raise ValueError(f"{len(data)} bytes for a KV block of {self.nbytes}")
        source = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        at = 0
        for view in self._views(block):
            size = view.numel() * view.element_size()
            view.copy_(source[at : at + size].view(view.dtype).view(view.shape))
            at += size

    def _views(self, block: int) -> list[torch.Tensor]:
        views = []
        for tensor in self._tensors:
            units = tensor.shape[1] // self._num_blocks
            views.append(tensor[:, block * units : (block + 1) * units])
        return views
