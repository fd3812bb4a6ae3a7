"""The KV of one block as bytes, whatever the number format and layout of the pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray


class BlockBytes:
    """Copies blocks out of and into the tensors that hold all pages.

    Each tensor is [layers, units, ...], its units in the order of the blocks and as many for each: slots,
    or tiles of several. Empty tensors (scales of a format that has none) hold nothing of any block.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], num_blocks: int) -> None:
        held = [tensor for tensor in tensors if tensor.numel()]
        # numpy copies in the calling thread. torch would wake its pool for each of these small copies, which
        # costs more than the copy, and 16 ms each where the cores are busy.
        self._arrays: list[NDArray[np.uint8]] = [tensor.view(torch.uint8).numpy() for tensor in held]
        self._num_blocks = num_blocks
        self.nbytes = sum(view.nbytes for view in self._views(0))
        self.layout = ";".join(
            f"{tensor.dtype}{[tensor.shape[0], tensor.shape[1] // num_blocks, *tensor.shape[2:]]}"
            for tensor in held
        )
        """Says how the bytes are to be read; blocks of another layout must not be written here."""

    def read(self, block: int) -> bytes:
        """Return a copy of the block's KV."""
        return b"".join(view.tobytes() for view in self._views(block))

    def write(self, block: int, data: bytes) -> None:
        """Replace the block's KV with what `read` returned; raises ValueError if it is not as long."""
        if len(data) != self.nbytes:
            raise ValueError(f"{len(data)} bytes for a KV block of {self.nbytes}")
        at = 0
        for view in self._views(block):
            view[...] = np.frombuffer(data, np.uint8, view.nbytes, at).reshape(view.shape)
            at += view.nbytes

    def _views(self, block: int) -> Iterator[NDArray[np.uint8]]:
        for array in self._arrays:
            units = array.shape[1] // self._num_blocks
            yield array[:, block * units : (block + 1) * units]
