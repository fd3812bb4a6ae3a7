"""An inverted file finds what is in it, and a change leaves the old one as it was."""

from __future__ import annotations

import threading

import faiss
import numpy as np

from semantic_cache.index.inverted_file import InvertedFile, lists_for, sample_size
from tests.semantic_cache.support.unit_vectors import unit_vectors

VECTORS = unit_vectors(1000, 32)
ROWS = np.arange(5000, 6000, dtype=np.int32)
NONE = np.empty(0, np.int32)


def filled() -> InvertedFile:
    empty = InvertedFile.train(VECTORS, 1000)
    assert len(empty) == 0
    return empty.changed([(ROWS[:600], VECTORS[:600]), (ROWS[600:], VECTORS[600:])], NONE)


def test_it_proposes_the_row_of_a_vector() -> None:
    file = filled()
    assert len(file) == 1000
    assert all(row in file.search(vector) for row, vector in zip(ROWS[::17], VECTORS[::17], strict=True))


def test_a_change_makes_a_copy() -> None:
    file = filled()
    changed = file.changed([(np.array([7], np.int32), VECTORS[3:4])], ROWS[:500])
    assert (len(file), len(changed)) == (1000, 501)
    assert ROWS[3] in file.search(VECTORS[3])
    assert ROWS[3] not in changed.search(VECTORS[3])
    assert 7 in changed.search(VECTORS[3])
    assert changed.trained_on == file.trained_on == 1000
    assert file.nbytes > changed.nbytes > 0


def test_calibration_stops_where_it_is_good_enough_or_nothing_helps() -> None:
    file = filled()
    start = file.probes, file.proposed
    file.calibrate(lambda: 1.0)
    assert (file.probes, file.proposed) == start
    file.calibrate(lambda: 0.5)
    assert (file.probes, file.proposed) == start
    file.calibrate(lambda: 0.9 + 0.01 * file.probes / start[0])
    assert file.probes > start[0]
    assert file.proposed == start[1]


def test_lists_grow_with_the_root() -> None:
    assert [lists_for(total) for total in (64, 20_000, 1_000_000)] == [16, 256, 2048]
    assert sample_size(100) == 100
    assert 39 * 2048 <= sample_size(1_000_000) < 100_000


def test_a_search_keeps_faiss_to_one_thread() -> None:
    file = filled()
    found: list[int] = []

    def search() -> None:
        faiss.omp_set_num_threads(2)
        file.search(VECTORS[0])
        found.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert found == [1]
