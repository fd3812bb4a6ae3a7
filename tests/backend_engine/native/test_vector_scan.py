"""The scan of fp16 rows in every instruction set of this processor, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from backend_engine.native.build import supported_sets
from backend_engine.native.vector_scan import VectorScan

BITS, DIM, OURS, THEIRS = 5, 48, 7, -7


@pytest.mark.parametrize("instruction_set", supported_sets())
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 96])
def test_it_returns_the_best_rows_of_the_tag(instruction_set: str, count: int) -> None:
    random = np.random.default_rng(count)
    chunks = [random.standard_normal((1 << BITS, DIM)).astype(np.float16) for _ in range(3)]
    tags = [random.choice([OURS, THEIRS], 1 << BITS).astype(np.int64) for _ in range(3)]
    rows = random.permutation(3 << BITS)[:count].astype(np.int32)
    query = random.standard_normal(DIM).astype(np.float32)
    addresses = [np.array([one.ctypes.data for one in arrays], np.uint64) for arrays in (chunks, tags)]

    found, scores = VectorScan(instruction_set)(*addresses, BITS, rows, OURS, query, 6)

    every = np.concatenate(chunks).astype(np.float64) @ query
    ours = [int(row) for row in rows if np.concatenate(tags)[row] == OURS]
    best = sorted(ours, key=lambda row: -every[row])[:6]
    assert found.tolist() == best
    np.testing.assert_allclose(scores, every[best], rtol=1e-5, atol=1e-5)
