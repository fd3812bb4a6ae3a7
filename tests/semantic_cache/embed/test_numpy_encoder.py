"""The encoder in numpy and in every instruction set of this processor: one arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend_engine.native.build import supported_sets
from backend_engine.native.encoder import NativeEncoder
from semantic_cache.embed.checkpoint import load_checkpoint
from semantic_cache.embed.numpy_encoder import NumpyEncoder


@pytest.mark.parametrize("instruction_set", supported_sets())
def test_kernels_give_the_bits_of_numpy(tiny: Path, instruction_set: str) -> None:
    weights = load_checkpoint(tiny).weights
    random = np.random.default_rng(2)
    # Lengths about the kernels' tiles: 4 queries, 6 rows, 16 keys.
    lengths = [1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 40]
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    ids = random.integers(0, len(weights.words), starts[-1]).astype(np.int32)
    expected = NumpyEncoder(weights)(ids, starts)
    found = NativeEncoder(weights, instruction_set=instruction_set)(ids, starts)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert np.isfinite(found[1]).all()
