"""Unit vectors for tests of the index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_vectors(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Return fp32 [count, dim] in a few clusters, as questions are."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((8, dim))
    x = centres[random.integers(0, 8, count)] + 0.7 * random.standard_normal((count, dim))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def as_stored(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what the slab keeps of `vectors`."""
    return vectors.astype(np.float16).astype(np.float64)
