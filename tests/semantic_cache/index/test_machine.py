"""The index against a dictionary: any order of changes and searches, with files being swapped in between."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from semantic_cache.index.index import Index
from tests.semantic_cache.support.unit_vectors import as_stored, unit_vectors

DIM = 16
LARGE = 48
VECTORS = unit_vectors(400, DIM)
STORED = as_stored(VECTORS)
SCOPES = [bytes([name]) * 32 for name in range(3)]
scopes = st.sampled_from(SCOPES)
which = st.integers(0, len(VECTORS) - 1)


class IndexMachine(RuleBasedStateMachine):
    """`model` maps ids to (scope, vector)."""

    @initialize(preload=st.booleans())
    def start(self, preload: bool) -> None:
        self.index = Index(DIM, chunk_bits=5, large=LARGE)
        self.model: dict[int, tuple[bytes, int]] = {}
        if preload:
            self.add_many(SCOPES[0], 0, LARGE + 8)

    @rule(scope=scopes, id_=which, vector=which)
    def add(self, scope: bytes, id_: int, vector: int) -> None:
        self.index.add(id_, scope, VECTORS[vector])
        self.model[id_] = (scope, vector)

    @rule(scope=scopes, first=st.integers(0, 300), count=st.integers(1, 100))
    def add_many(self, scope: bytes, first: int, count: int) -> None:
        for id_ in range(first, first + count):
            self.add(scope, id_, (7 * id_) % len(VECTORS))

    @rule(id_=which)
    def remove(self, id_: int) -> None:
        assert self.index.remove(id_) == (self.model.pop(id_, None) is not None)

    @rule(first=st.integers(0, 300), count=st.integers(1, 100))
    def remove_many(self, first: int, count: int) -> None:
        for id_ in range(first, first + count):
            self.remove(id_)

    @rule()
    def settle(self) -> None:
        self.index.settle()

    @rule(scope=scopes, vector=which, k=st.integers(1, 6))
    def search(self, scope: bytes, vector: int, k: int) -> None:
        query = VECTORS[vector].astype(np.float64)
        there = {id_: float(STORED[at] @ query) for id_, (name, at) in self.model.items() if name == scope}
        found = self.index.search(scope, VECTORS[vector], k)
        assert len(found) == len({id_ for id_, _ in found}) == min(k, len(there))
        for id_, cosine in found:
            assert abs(cosine - there[id_]) < 1e-12
        assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
        if len(there) < LARGE // 2:
            best = sorted(there.values(), reverse=True)[:k]
            assert np.allclose([cosine for _, cosine in found], best, rtol=0, atol=1e-12)
        # Whatever is stored is found by its own vector, through a file, a log or row by row.
        exact = [id_ for id_, (name, at) in self.model.items() if name == scope and at == vector]
        if exact and k > len(exact):
            assert set(exact) <= {id_ for id_, _ in found}

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.index) == len(self.model)
        assert set(self.index.scopes()) == {scope for scope, _ in self.model.values()}

    def teardown(self) -> None:
        if hasattr(self, "index"):
            for scope in SCOPES:
                assert sorted(self.index.ids(scope)) == sorted(
                    i for i, (s, _) in self.model.items() if s == scope
                )
            self.index.close()


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
