"""Both scans are one contract."""

from __future__ import annotations

import numpy as np
import pytest

from semantic_cache.index import scan as scan_module
from semantic_cache.index.scan import NativeScan, NumpyScan, Scan, fastest_scan
from semantic_cache.index.slab import Slab
from tests.semantic_cache.support.unit_vectors import as_stored, unit_vectors


@pytest.mark.parametrize("scan", [NativeScan(), NumpyScan()])
@pytest.mark.parametrize("count", [0, 3, 9, 500])
def test_the_nearest_of_the_given_rows_and_tag_come_first(scan: Scan, count: int) -> None:
    slab = Slab(20, chunk_bits=4)
    vectors = unit_vectors(500, 20)
    rows = np.array([slab.put(at, at % 3 + 1, vector) for at, vector in enumerate(vectors)], np.int32)
    query = np.zeros(slab.width, np.float32)
    query[:20] = unit_vectors(1, 20, seed=3)[0]
    cosines = as_stored(vectors) @ query[:20].astype(np.float64)
    given = np.random.default_rng(count).permutation(500)[:count]
    expected = sorted((at for at in given if at % 3 == 1), key=lambda at: -cosines[at])[:7]
    assert scan(slab, rows[given], 2, query, 7).tolist() == rows[expected].tolist()


def test_numpy_stands_in_where_nothing_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(fastest_scan(), NativeScan)

    def no_compiler() -> NativeScan:
        raise scan_module.BuildError("no C++ compiler (g++ or clang++) was found")

    monkeypatch.setattr(scan_module, "NativeScan", no_compiler)
    assert isinstance(fastest_scan(), NumpyScan)
