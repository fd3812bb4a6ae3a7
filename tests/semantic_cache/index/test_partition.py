"""A large scope while its file is made: what comes and goes meanwhile is neither lost nor found twice."""

from __future__ import annotations

import numpy as np
import pytest

from semantic_cache.index.partition import Partition, RowLog
from semantic_cache.index.scan import NumpyScan
from semantic_cache.index.slab import Slab
from tests.semantic_cache.support.unit_vectors import unit_vectors

TAG = 9
VECTORS = unit_vectors(400, 32)


class Scope:
    """A scope's rows, and the partition that follows them, as the index would keep them."""

    def __init__(self) -> None:
        self.slab = Slab(32, chunk_bits=6)
        self.partition = Partition(self.slab, NumpyScan(), TAG)
        self.rows: dict[int, int] = {}

    def add(self, at: int) -> None:
        self.rows[at] = self.slab.put(at, TAG, VECTORS[at])
        self.partition.rows = len(self.rows)
        self.partition.append(self.rows[at])

    def remove(self, at: int) -> None:
        row = self.rows.pop(at)
        self.slab.free(row)
        self.partition.rows = len(self.rows)
        self.partition.remove(row)

    def all_rows(self) -> np.ndarray:
        return np.array(list(self.rows.values()), np.int32)

    def found(self, at: int) -> int | None:
        """Return which vector a search for vector `at` proposes first."""
        rows = self.partition.candidates(VECTORS[at])
        assert rows is not None
        best = NumpyScan()(self.slab, rows, TAG, VECTORS[at], 1)
        read = self.slab.read(int(best[0]), TAG)
        return read[0] if read else None


@pytest.fixture
def scope() -> Scope:
    scope = Scope()
    for at in range(256):
        scope.add(at)
    return scope


def build(scope: Scope) -> None:
    started = scope.partition.begin_build(scope.all_rows())
    scope.partition.end_build(started, scope.partition.build(started))


def test_there_are_no_candidates_before_there_is_a_file(scope: Scope) -> None:
    assert scope.partition.candidates(VECTORS[0]) is None
    assert scope.partition.wants_build()
    assert scope.partition.nbytes == 0


def test_changes_during_the_first_build_are_kept(scope: Scope) -> None:
    started = scope.partition.begin_build(scope.all_rows())
    for at in range(256, 300):
        scope.add(at)
    for at in range(40):
        scope.remove(at)
    scope.add(300)  # in a row that the file has for another vector
    file = scope.partition.build(started)
    scope.add(301)
    scope.remove(41)
    scope.partition.end_build(started, file)
    assert [scope.found(at) for at in scope.rows] == list(scope.rows)
    assert all(scope.found(at) != at for at in (*range(40), 41))
    assert not scope.partition.building


def test_a_merge_takes_in_the_log_and_takes_out_what_is_gone(scope: Scope) -> None:
    build(scope)
    before = scope.partition.file
    assert before is not None
    for at in range(64):
        scope.remove(at)
    for at in range(256, 330):
        scope.add(at)
    assert scope.partition.wants_build()
    build(scope)
    after = scope.partition.file
    assert after is not None
    assert after is not before
    assert after.trained_on == before.trained_on
    assert len(after) == len(scope.rows)
    assert not scope.partition.wants_build()
    assert [scope.found(at) for at in scope.rows] == list(scope.rows)


def test_a_scope_that_doubled_is_trained_anew(scope: Scope) -> None:
    for at in range(100, 256):
        scope.remove(at)
    build(scope)
    for at in range(100, 400):
        scope.add(at)
    build(scope)
    file = scope.partition.file
    assert file is not None
    assert file.trained_on == len(file) == 400
    assert [scope.found(at) for at in scope.rows] == list(scope.rows)


def test_a_build_that_was_given_up_waits_for_more_rows(scope: Scope) -> None:
    scope.partition.building = True
    assert not scope.partition.wants_build()
    scope.partition.give_up()
    assert not scope.partition.wants_build()
    for at in range(256, 330):
        scope.add(at)
    assert scope.partition.wants_build()


def test_a_log_grows_and_is_read_from_any_place() -> None:
    log = RowLog()
    for row in range(200):
        log.append(row)
    assert log.rows().tolist() == list(range(200))
    assert RowLog(log.rows(150)).rows().tolist() == list(range(150, 200))
    empty = RowLog(log.rows(200))
    empty.append(7)
    assert empty.rows().tolist() == [7]
