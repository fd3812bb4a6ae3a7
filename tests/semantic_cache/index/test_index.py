"""The index: what a search of a scope returns, live changes, the budget, and readers beside writers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from semantic_cache.index.errors import BadVector, IndexFull
from semantic_cache.index.index import Index
from semantic_cache.index.scan import NativeScan, NumpyScan, Scan
from tests.semantic_cache.support.unit_vectors import as_stored, unit_vectors

DIM = 24
SCOPE, OTHER = b"a" * 32, b"b" * 32


@pytest.fixture(params=[NativeScan, NumpyScan])
def scan(request: pytest.FixtureRequest) -> Scan:
    make: Callable[[], Scan] = request.param
    return make()


@pytest.fixture
def index(scan: Scan) -> Iterator[Index]:
    index = Index(DIM, chunk_bits=4, scan=scan)
    yield index
    index.close()


def test_a_search_finds_the_nearest_first_with_their_cosines(index: Index) -> None:
    vectors = unit_vectors(100, DIM)
    for id_, vector in enumerate(vectors):
        index.add(id_, SCOPE, vector)
    query = unit_vectors(1, DIM, seed=1)[0]
    cosines = as_stored(vectors) @ query.astype(np.float64)
    found = index.search(SCOPE, query, k=5)
    assert [id_ for id_, _ in found] == np.argsort(-cosines)[:5].tolist()
    assert [cosine for _, cosine in found] == pytest.approx(sorted(cosines, reverse=True)[:5], abs=1e-12)


def test_scopes_never_see_each_other(index: Index) -> None:
    vector = unit_vectors(1, DIM)[0]
    index.add(1, SCOPE, vector)
    index.add(2, OTHER, vector)
    assert [id_ for id_, _ in index.search(SCOPE, vector)] == [1]
    assert [id_ for id_, _ in index.search(OTHER, vector)] == [2]
    assert index.search(b"c" * 32, vector) == []


def test_what_was_removed_is_not_found_and_its_row_is_used_again(index: Index) -> None:
    vectors = unit_vectors(2, DIM)
    index.add(1, SCOPE, vectors[0])
    before = index.stats().bytes
    assert index.remove(1)
    assert not index.remove(1)
    assert index.search(SCOPE, vectors[0]) == []
    assert index.scopes() == []
    index.add(2, OTHER, vectors[1])
    assert index.search(SCOPE, vectors[0]) == []
    assert index.stats().bytes == before


def test_an_id_that_is_added_again_moves(index: Index) -> None:
    vectors = unit_vectors(2, DIM)
    index.add(1, SCOPE, vectors[0])
    index.add(1, OTHER, vectors[1])
    assert len(index) == 1
    assert index.search(SCOPE, vectors[0]) == []
    assert index.ids(OTHER) == [1]


@pytest.mark.parametrize(
    "vector", [np.ones(DIM - 1), np.ones(DIM), np.zeros(DIM), np.full(DIM, np.nan), np.full(DIM, np.inf)]
)
def test_a_vector_that_is_none_is_refused(index: Index, vector: np.ndarray) -> None:
    with pytest.raises(BadVector):
        index.add(1, SCOPE, vector)
    with pytest.raises(BadVector):
        index.search(SCOPE, vector)
    assert len(index) == 0


def test_a_full_index_refuses_and_still_answers(scan: Scan) -> None:
    vectors = unit_vectors(17, DIM)
    # Room for one chunk of 16, not for a second.
    empty = Index(DIM, chunk_bits=4, scan=scan).stats().bytes
    tight = Index(DIM, chunk_bits=4, scan=scan, budget_bytes=empty + 5000)
    for id_, vector in enumerate(vectors[:16]):
        tight.add(id_, SCOPE, vector)
    with pytest.raises(IndexFull, match="16 vectors"):
        tight.add(16, SCOPE, vectors[16])
    assert tight.search(SCOPE, vectors[3])[0][0] == 3
    tight.remove(3)
    tight.add(16, SCOPE, vectors[16])
    assert tight.search(SCOPE, vectors[16])[0][0] == 16


def test_a_full_index_gives_up_what_it_is_told_to(scan: Scan) -> None:
    vectors = unit_vectors(40, DIM)
    asked: list[int] = []

    def oldest(count: int) -> list[int]:
        asked.append(count)
        return sorted(index.ids(SCOPE))[:count]

    empty = Index(DIM, chunk_bits=4, scan=scan).stats().bytes
    index = Index(DIM, chunk_bits=4, scan=scan, budget_bytes=empty + 5000, make_room=oldest)
    for id_, vector in enumerate(vectors):
        index.add(id_, SCOPE, vector)
    assert asked
    stats = index.stats()
    assert stats.budget_bytes is not None
    assert stats.bytes <= stats.budget_bytes
    assert sorted(index.ids(SCOPE)) == list(range(40 - len(index), 40))


def test_a_large_scope_gets_a_file_and_finds_what_came_after_it() -> None:
    vectors = unit_vectors(900, DIM)
    index = Index(DIM, large=512)
    for id_, vector in enumerate(vectors[:600]):
        index.add(id_, SCOPE, vector)
    index.settle()
    assert index.stats().files == 1
    for id_, vector in enumerate(vectors[600:], 600):
        index.add(id_, SCOPE, vector)
    found = [index.search(SCOPE, vector, k=1)[0][0] for vector in vectors]
    assert np.mean(np.array(found) == np.arange(900)) >= 0.99
    index.settle()
    for id_ in range(0, 900, 2):
        index.remove(id_)
    for vector in vectors[::9]:
        assert all(id_ % 2 for id_, _ in index.search(SCOPE, vector))
    for id_ in range(1, 900, 2):
        index.remove(id_)
    assert index.stats().files == 0
    assert index.search(SCOPE, vectors[0]) == []
    index.close()


def test_a_file_that_the_budget_has_no_room_for_is_not_made() -> None:
    vectors = unit_vectors(256, DIM)

    def filled(budget: int | None) -> Index:
        index = Index(DIM, chunk_bits=8, large=256, budget_bytes=budget)
        for id_, vector in enumerate(vectors):
            index.add(id_, SCOPE, vector)
        index.settle()
        index.close()
        return index

    needed = filled(None).stats()
    assert needed.files == 1
    assert filled(needed.bytes + 1000).stats().files == 1
    tight = filled(needed.bytes - 1000)
    assert tight.stats().files == 0
    assert tight.search(SCOPE, vectors[7])[0][0] == 7


def test_readers_beside_a_writer_get_only_what_is_of_their_scope(scan: Scan) -> None:
    """Rows go back and forth between two scopes while files are made and swapped."""
    vectors = unit_vectors(512, DIM)
    index = Index(DIM, chunk_bits=6, scan=scan, large=128)
    ours, theirs = range(0, 512, 2), range(1, 512, 2)
    wrong: list[object] = []
    answers = [0]
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for at in range(0, 512, 7):
                for scope, parity in ((SCOPE, 0), (OTHER, 1)):
                    for id_, cosine in index.search(scope, vectors[at]):
                        answers[0] += 1
                        right = float(as_stored(vectors[id_]) @ vectors[at].astype(np.float64))
                        if id_ % 2 != parity or abs(cosine - right) > 1e-9:
                            wrong.append((id_, cosine, right))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(4):
            for scope, ids in ((SCOPE, ours), (OTHER, theirs)):
                for id_ in ids:
                    index.add(id_, scope, vectors[id_])
            for pair in zip(ours, theirs, strict=True):
                for id_ in pair:
                    index.remove(id_)
        for id_ in ours:
            index.add(id_, SCOPE, vectors[id_])
    finally:
        done.set()
        for reader in readers:
            reader.join()
        index.close()
    assert wrong == []
    assert answers[0] > 0


def test_a_hundred_thousand_scopes_are_no_objects() -> None:
    import gc

    index = Index(DIM)
    vector = unit_vectors(1, DIM)[0]
    before = len(gc.get_objects())
    for at in range(3000):
        index.add(at, at.to_bytes(32, "big"), vector)
    assert len(index.scopes()) == 3000
    assert len(gc.get_objects()) - before < 300
