"""What the process holds of a store, against a model that looks at every record."""

from __future__ import annotations

import time
from hashlib import sha256

import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from semantic_cache.epochs import Epochs
from semantic_cache.record import Learnt, Stored
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.service.shelf import Shelf
from tests.semantic_cache.support.samples import key
from tests.semantic_cache.support.semantic_parts import DIM, ID, encode
from tests.semantic_cache.support.semantic_process import record, scope_of

TENANTS = ("acme", "globex")
TEXTS = ("red boat", "boat red old", "blue sky", "old blue boat", "sky")


def question(text: str) -> bytes:
    return sha256(text.encode()).digest()


def vector_of(text: str) -> np.ndarray:
    (encoding,) = encode([text])
    return encoding.vector


class ShelfMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = time.time()
        self.shelf = Shelf(ID, DIM, clock=lambda: self.now)
        self.held: dict[ExactKey, Stored] = {}
        self.vectors: set[ExactKey] = set()
        self.epochs = dict.fromkeys(TENANTS, Epochs())

    @rule(
        tenant=st.sampled_from(TENANTS),
        text=st.sampled_from(TEXTS),
        embedded=st.booleans(),
        late=st.integers(0, 1),
        lives=st.integers(1, 100),
    )
    def put(self, tenant: str, text: str, embedded: bool, late: int, lives: int) -> None:
        epoch = max(0, self.epochs[tenant].now - late)
        vector = vector_of(text).astype("<f2").tobytes() if embedded else b""
        kept = record(text, tenant, embedder=ID if embedded else "other", vector=vector, epoch=epoch)
        kept = msgspec.structs.replace(kept, stale_until=self.now + lives)
        stored = Stored(key(text, tenant), kept, Learnt())
        self.shelf.put(stored)
        self.held.pop(stored.key, None)
        self.vectors.discard(stored.key)
        if not self.epochs[tenant].dead(epoch, "large", ()):
            self.held[stored.key] = stored
            if embedded:
                self.vectors.add(stored.key)

    @rule()
    def embed_missing(self) -> None:
        for number, text in self.shelf.unindexed(100):
            self.shelf.give(number, vector_of(text))
        assert self.shelf.waiting == 0
        self.vectors = set(self.held)

    @rule(tenant=st.sampled_from(TENANTS), text=st.sampled_from(TEXTS))
    def drop(self, tenant: str, text: str) -> None:
        self.shelf.drop(key(text, tenant))
        self.held.pop(key(text, tenant), None)
        self.vectors.discard(key(text, tenant))

    @rule(tenant=st.sampled_from(TENANTS))
    def purge(self, tenant: str) -> None:
        self.epochs[tenant] = self.epochs[tenant].purged()
        self.shelf.bury({tenant: self.epochs[tenant]})
        self._forget([where for where in self.held if where.tenant == tenant])

    @rule(tenant=st.sampled_from(TENANTS), text=st.sampled_from(TEXTS), other=st.sampled_from(TEXTS))
    def block(self, tenant: str, text: str, other: str) -> None:
        known = self.held.get(key(text, tenant))
        if known is not None:
            learnt = Stored(known.key, known.record, known.learnt.blocking(question(other)))
            self.shelf.put(learnt)
            self.held[known.key] = learnt

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.shelf.sweep()
        self._forget([where for where, of in self.held.items() if of.record.stale_until <= self.now])

    @rule()
    def begin_anew(self) -> None:
        self.shelf.clear()
        self.epochs = dict.fromkeys(TENANTS, Epochs())
        self._forget(list(self.held))

    def _forget(self, keys: list[ExactKey]) -> None:
        for where in keys:
            del self.held[where]
            self.vectors.discard(where)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "shelf"):
            return
        assert len(self.shelf) == len(self.held)
        assert self.shelf.waiting == len(self.held) - len(self.vectors)
        assert self.shelf.scopes == len({stored.record.scope for stored in self.held.values()})
        for where, stored in self.held.items():
            assert self.shelf.find(where) == stored
        for tenant in TENANTS:
            found = self.shelf.near(tenant, scope_of(tenant), question("sky"), vector_of("old boat"), 9)
            expected = {
                where
                for where in self.vectors
                if where.tenant == tenant and question("sky") not in self.held[where].learnt.blocked
            }
            assert {neighbour.stored.key for neighbour in found} == expected
            assert [n.similarity for n in found] == sorted((n.similarity for n in found), reverse=True)

    def teardown(self) -> None:
        if hasattr(self, "shelf"):
            self.shelf.close()


TestShelf = ShelfMachine.TestCase
TestShelf.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_within_its_budget_the_newest_can_be_found() -> None:
    shelf = Shelf(ID, DIM, budget_bytes=4 << 20)
    for number in range(40_000):
        text = f"question {number}"
        vector = np.random.default_rng(number).standard_normal(DIM).astype(np.float32)
        vector /= np.linalg.norm(vector)
        kept = record(text, embedder=ID, vector=vector.astype("<f2").tobytes())
        shelf.put(Stored(key(text), kept, Learnt()))
    assert shelf.index_bytes <= 5 << 20
    assert len(shelf) == 40_000
    newest = [n.stored.key for n in shelf.near("acme", scope_of("acme"), b"", vector, 1)]
    assert newest == [key(text)]
    shelf.drop(key("question 0"))
    shelf.close()


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def stored(number: int, tenant: str, scope: bytes) -> Stored:
    vector = unit(number).astype("<f2").tobytes()
    kept = record(f"question {number}", tenant, embedder=ID, vector=vector, scope=scope)
    return Stored(key(f"question {number}", tenant), kept, Learnt())


def test_one_tenants_flood_of_scopes_leaves_the_others_vectors_where_they_are() -> None:
    shelf = Shelf(ID, DIM, budget_bytes=3 << 20)
    for number in range(50):
        shelf.put(stored(number, "small", scope_of("small")))
    for number in range(14_000):
        # A scope for each question: another namespace, model or parameter every time.
        shelf.put(stored(number, "flood", scope_of("flood", str(number))))
        assert number % 1000 or shelf.index_bytes <= 4 << 20
    for number in range(50):
        (found,) = shelf.near("small", scope_of("small"), b"", unit(number), 1)
        assert found.stored.key == key(f"question {number}", "small")
    assert not shelf.near("flood", scope_of("flood", "0"), b"", unit(0), 1)
    for number in range(14_000):
        shelf.drop(key(f"question {number}", "flood"))
    assert (len(shelf), shelf.scopes) == (50, 1)
    shelf.close()


def test_what_others_put_into_a_shared_scope_hides_nobodys() -> None:
    shelf = Shelf(ID, DIM)
    shared = scope_of("@team")
    mine = stored(7, "small", shared)
    shelf.put(mine)
    for number in range(200):
        # Closer to the question than anything honest could be.
        vector = unit(7).astype("<f2").tobytes()
        kept = record(f"flood {number}", "flood", embedder=ID, vector=vector, scope=shared)
        shelf.put(Stored(key(f"flood {number}", "flood"), kept, Learnt()))
    assert [found.stored.key for found in shelf.near("small", shared, b"", unit(7), 4)] == [mine.key]
    assert len(shelf.near("flood", shared, b"", unit(7), 4)) == 4
    assert shelf.near("@team", shared, b"", unit(7), 4) == []
    shelf.close()


def test_what_a_contributors_epochs_say_is_dead_is_not_held() -> None:
    shelf = Shelf(ID, DIM)
    given = record("red boat", "@team", contributor="small", contributed=1)
    shelf.put(Stored(key("red boat", "@team"), given, Learnt()))
    shelf.bury({"other": Epochs(5, 5)})
    assert len(shelf) == 1
    shelf.bury({"small": Epochs(2, 2)})
    assert len(shelf) == 0
    shelf.put(Stored(key("red boat", "@team"), given, Learnt()))
    assert len(shelf) == 0
    shelf.close()
