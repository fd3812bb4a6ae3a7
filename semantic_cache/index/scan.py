"""Brute force: the nearest of some rows, by the native kernel or, without a compiler, by numpy."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from backend_engine.native.build import BuildError
from backend_engine.native.vector_scan import VectorScan
from semantic_cache.index.slab import Floats, Slab

_log = structlog.get_logger("semantic")

_ROWS_AT_ONCE = 4096


class Scan(Protocol):
    """Finds the nearest of some rows."""

    def __call__(
        self, slab: Slab, rows: NDArray[np.int32], tag: int, query: Floats, k: int
    ) -> NDArray[np.int32]:
        """Return at most `k` of those of `rows` that have `tag`, the nearest to `query` [width] first."""
        ...


class NativeScan:
    """Reads the slab's memory at the speed of the memory, without Python's lock."""

    def __init__(self) -> None:
        """Load the kernel; raises BuildError."""
        self._scan = VectorScan()

    def __call__(
        self, slab: Slab, rows: NDArray[np.int32], tag: int, query: Floats, k: int
    ) -> NDArray[np.int32]:
        # Taken after the rows, the addresses are those of all chunks that the rows are in.
        vectors, tags = slab.addresses
        return self._scan(vectors, tags, slab.chunk_bits, rows, tag, query, k)[0]


class NumpyScan:
    """The same, some ten times slower."""

    def __call__(
        self, slab: Slab, rows: NDArray[np.int32], tag: int, query: Floats, k: int
    ) -> NDArray[np.int32]:
        found, scores = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            kept, vectors = slab.read_all(rows[begin : begin + _ROWS_AT_ONCE], tag)
            found.append(kept)
            scores.append(vectors @ query)
        all_rows, all_scores = np.concatenate(found), np.concatenate(scores)
        if len(all_rows) > k:
            best = np.argpartition(-all_scores, k)[:k]
            all_rows, all_scores = all_rows[best], all_scores[best]
        return all_rows[np.argsort(-all_scores, kind="stable")]


def fastest_scan() -> Scan:
    """Return the kernel, or numpy's scan where there is no way to compile it."""
    try:
        return NativeScan()
    except BuildError as error:
        _log.warning("native_kernels_missing", reason=str(error), consequence="numpy searches, slower")
        return NumpyScan()
