"""Rows that come and go, and readers who look at the wrong moment."""

from __future__ import annotations

import numpy as np

from semantic_cache.index.slab import Slab
from tests.semantic_cache.support.unit_vectors import unit_vectors


def test_a_row_is_read_as_it_was_put() -> None:
    slab = Slab(20, chunk_bits=3)
    vectors = unit_vectors(20, 20)
    rows = [slab.put(100 + at, 5, vector) for at, vector in enumerate(vectors)]
    assert len(set(rows)) == 20
    assert len(slab.chunks) == 3
    assert slab.nbytes == 3 * slab.chunk_nbytes
    for at, row in enumerate(rows):
        found = slab.read(row, 5)
        assert found is not None
        assert found[0] == 100 + at
        np.testing.assert_array_equal(found[1], vectors[at].astype(np.float16).astype(np.float32))


def test_a_row_of_another_tag_or_of_none_is_not_read() -> None:
    slab = Slab(20, chunk_bits=3)
    row = slab.put(1, 5, unit_vectors(1, 20)[0])
    assert slab.read(row, 6) is None
    slab.free(row)
    assert slab.read(row, 5) is None
    assert slab.read_all(np.array([row], np.int32), 5)[0].tolist() == []


def test_a_row_that_changes_while_it_is_read_is_not_read() -> None:
    slab = Slab(16, chunk_bits=3)
    old, new = unit_vectors(2, 16)
    row = slab.put(1, 5, old)
    chunk = slab.locate(row)[0]

    class Vectors:
        """Lets the row change hands, within its tag, just as its vector is copied."""

        def __getitem__(self, key: object) -> np.ndarray:
            chunk.vectors = vectors
            slab.free(row)
            assert slab.put(2, 5, new) == row
            return vectors[key]  # type: ignore[index]

    vectors = chunk.vectors
    chunk.vectors = Vectors()  # type: ignore[assignment]
    assert slab.read(row, 5) is None
    assert slab.read(row, 5) is not None


def test_many_rows_are_read_sorted_and_padded() -> None:
    slab = Slab(20, chunk_bits=3)
    vectors = unit_vectors(30, 20)
    rows = np.array([slab.put(at, at % 2 + 1, vector) for at, vector in enumerate(vectors)], np.int32)
    found, read = slab.read_all(rows[::-1].copy(), 2)
    assert found.tolist() == sorted(rows[1::2].tolist())
    assert read.shape == (15, 32)
    assert not read[:, 20:].any()
