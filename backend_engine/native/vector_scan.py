"""The nearest of some rows of a table of fp16 vectors (src/vector_scan.cpp), on numpy arrays."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from backend_engine.native.build import BuildError, supported_sets
from backend_engine.native.variant import Variant

LANES = 16
"""A vector's width must be a multiple of this."""


class VectorScan:
    """The kernel, for any number of threads at once; it runs without Python's lock."""

    def __init__(self, instruction_set: str | None = None) -> None:
        """Load the kernel, compiling it first if need be; raises BuildError."""
        try:
            variant = Variant(instruction_set or supported_sets()[0])
        except OSError as error:
            raise BuildError(f"the library does not load: {error}") from error
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        inputs = (pointer, pointer, size, size, pointer, size, size, pointer, size)
        self._scan = variant.function("vector_scan", size, *inputs, pointer, pointer)

    def __call__(
        self,
        chunks: NDArray[np.uint64],
        tags: NDArray[np.uint64],
        chunk_bits: int,
        rows: NDArray[np.int32],
        tag: int,
        query: NDArray[np.float32],
        k: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return at most `k` of `rows`, and their inner products with `query`, the greatest first.

        chunks: addresses of tables fp16 [2 ** chunk_bits, dim], which hold every row of `rows`, int32
        [count]; tags: addresses of tables int64 [2 ** chunk_bits], and only rows with `tag` count; query:
        fp32 [dim]. All are contiguous.
        """
        best, scores = np.empty(k, np.int32), np.empty(k, np.float32)
        found = self._scan(
            chunks.ctypes.data,
            tags.ctypes.data,
            chunk_bits,
            len(query),
            rows.ctypes.data,
            len(rows),
            tag,
            query.ctypes.data,
            k,
            best.ctypes.data,
            scores.ctypes.data,
        )
        return best[:found], scores[:found]
