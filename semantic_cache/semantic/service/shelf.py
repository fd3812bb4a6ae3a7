"""What the process holds of a store: every record with its place in the index. The store is the truth.

Belongs to the event loop, but for `near`, which any thread may call.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from semantic_cache.epochs import Epochs
from semantic_cache.index.errors import VectorIndexError
from semantic_cache.index.index import Index
from semantic_cache.record import Stored
from semantic_cache.scope import ExactKey
from semantic_cache.store.fair_share import level

_log = structlog.get_logger("semantic_cache.service")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A record near a question."""

    id: int
    stored: Stored
    similarity: float


class Shelf:
    """Records by key and by number, and by group: a tenant's records of one model."""

    def __init__(
        self,
        embedder: str,
        dim: int,
        budget_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`embedder` is the id of the one whose vectors [dim] are held, within `budget_bytes`."""
        self._index = Index(dim, budget_bytes=budget_bytes, make_room=self._make_room)
        self._embedder = embedder
        self._dim = dim
        self._clock = clock
        self._numbers = itertools.count(1)
        self._ids: dict[ExactKey, int] = {}
        self._stored: dict[int, Stored] = {}
        self._scopes: dict[bytes, int] = defaultdict(int)
        self._indexed: dict[str, dict[int, None]] = {}
        """Records whose vectors are held, by tenant, those that have been here longest first."""
        self._groups: dict[tuple[str, str], dict[int, Stored]] = defaultdict(dict)
        self._versions: dict[tuple[str, str], int] = {}
        self._unindexed: dict[int, None] = {}
        self._epochs: dict[str, Epochs] = {}

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def index_bytes(self) -> int:
        """Memory of the vectors."""
        return self._index.stats().bytes

    @property
    def scopes(self) -> int:
        """How many scopes have records."""
        return len(self._scopes)

    @property
    def waiting(self) -> int:
        """How many records have no vector of this embedder yet."""
        return len(self._unindexed)

    def close(self) -> None:
        """Stop what runs in the background."""
        self._index.close()

    def put(self, stored: Stored) -> None:
        """Hold a record in place of an older one of its key. Without a vector of ours, it waits for one."""
        if self._dead(stored):
            self.drop(stored.key)
            return
        known = self._ids.get(stored.key)
        if known is not None:
            before = self._stored[known]
            if before.record == stored.record:
                # Only what was learnt is new.
                self._hold(known, stored)
                return
            self.drop(stored.key)
        number = next(self._numbers)
        self._ids[stored.key] = number
        self._scopes[stored.record.scope] += 1
        self._hold(number, stored)
        if (vector := self._vector_of(stored)) is not None:
            self._insert(number, stored, vector)
        else:
            self._unindexed[number] = None

    def give(self, number: int, vector: NDArray[np.float32]) -> None:
        """Let a record that waits for its vector be found from now on."""
        if number in self._unindexed:
            del self._unindexed[number]
            self._insert(number, self._stored[number], vector)

    def postpone(self, number: int) -> None:
        """Put a record behind all others that wait for their vectors."""
        if number in self._unindexed:
            del self._unindexed[number]
            self._unindexed[number] = None

    def unindexed(self, most: int) -> list[tuple[int, str]]:
        """Return numbers and texts of some records that wait for their vectors."""
        return [
            (number, self._stored[number].record.text) for number in itertools.islice(self._unindexed, most)
        ]

    def drop(self, key: ExactKey) -> None:
        """Forget a record, if it is there."""
        number = self._ids.pop(key, None)
        if number is None:
            return
        stored = self._stored.pop(number)
        self._not_indexed(key.tenant, number)
        self._index.remove(number)
        self._unindexed.pop(number, None)
        scope = stored.record.scope
        self._scopes[scope] -= 1
        if not self._scopes[scope]:
            del self._scopes[scope]
        group = self.group_of(stored)
        labelled = self._groups.get(group, {})
        if labelled.pop(number, None) is not None:
            self._versions[group] = next(self._numbers)
            if not labelled:
                del self._groups[group], self._versions[group]

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self._ids):
            self.drop(key)
        self._epochs.clear()

    def bury(self, epochs: Mapping[str, Epochs]) -> None:
        """Forget what these tenants' epochs say is dead, and take in nothing of it any more."""
        self._epochs.update(epochs)
        for stored in list(self._stored.values()):
            meant = stored.key.tenant in epochs or stored.record.contributor in epochs
            if meant and self._dead(stored):
                self.drop(stored.key)

    def sweep(self) -> None:
        """Forget what is past its time."""
        now = self._clock()
        for stored in [stored for stored in self._stored.values() if stored.record.stale_until <= now]:
            self.drop(stored.key)

    def find(self, key: ExactKey) -> Stored | None:
        """Return a record by its key."""
        number = self._ids.get(key)
        return None if number is None else self._stored[number]

    def taught(self, stored: Stored) -> None:
        """Note what was learnt about a record, if it is still there."""
        number = self._ids.get(stored.key)
        if number is not None:
            self._hold(number, stored)

    def near(
        self, tenant: str, scope: bytes, question: bytes, vector: NDArray[np.float32], k: int
    ) -> list[Neighbour]:
        """Return at most k records that may answer a question with this key and vector [dim], nearest first.

        Not those that are past their time, that are the question itself, or whose answer somebody found
        wrong for it. Each holder's records of a scope are searched by themselves: however many another one
        of its group puts there, they hide nobody's. `tenant` is looked at again all the same.
        """
        now = self._clock()
        found = []
        # Some more than wanted: what is left out below must not hide what is behind it.
        for number, similarity in self._index.search(_partition(scope, tenant), vector, k + 4):
            stored = self._stored.get(number)
            if stored is None or stored.record.stale_until <= now or stored.key.digest == question:
                continue
            if stored.key.tenant != tenant or stored.record.scope != scope:
                continue
            if question not in stored.learnt.blocked:
                found.append(Neighbour(number, stored, float(similarity)))
        return found[:k]

    @staticmethod
    def group_of(stored: Stored) -> tuple[str, str]:
        """Return whose labels are looked at together: a tenant's, of one model."""
        return stored.key.tenant, stored.record.model

    def labels_version(self, group: tuple[str, str]) -> int:
        """Return a number that is another one whenever the group's labels have changed; 0: there are none."""
        return self._versions.get(group, 0)

    def group(self, group: tuple[str, str]) -> list[Stored]:
        """Return the group's records about which something was learnt."""
        return list(self._groups.get(group, {}).values())

    def _dead(self, stored: Stored) -> bool:
        record = stored.record
        epochs = self._epochs.get(stored.key.tenant)
        if epochs is not None and epochs.dead(record.epoch, record.model, record.tags):
            return True
        epochs = self._epochs.get(record.contributor) if record.contributor else None
        return epochs is not None and epochs.dead(record.contributed, record.model, record.tags)

    def _hold(self, number: int, stored: Stored) -> None:
        self._stored[number] = stored
        if stored.learnt.observations:
            group = self.group_of(stored)
            self._groups[group][number] = stored
            self._versions[group] = next(self._numbers)

    def _vector_of(self, stored: Stored) -> NDArray[np.float32] | None:
        """Return the vector [dim] that came with a record, if it is one of ours. It may be imported."""
        record = stored.record
        if record.embedder != self._embedder or len(record.vector) != 2 * self._dim:
            return None
        vector = np.frombuffer(record.vector, dtype="<f2").astype(np.float32)
        return vector if np.isfinite(vector).all() else None

    def _insert(self, number: int, stored: Stored, vector: NDArray[np.float32]) -> None:
        try:
            self._index.add(number, _partition(stored.record.scope, stored.key.tenant), vector)
        except VectorIndexError as error:
            _log.warning("record_not_indexed", reason=str(error))
            return
        self._indexed.setdefault(stored.key.tenant, {})[number] = None

    def _make_room(self, count: int) -> list[int]:
        """Give up the records that have been here longest, of those tenants that have more than their share.

        They stay in the store, and in the exact tier.
        """
        sizes = [len(numbers) for numbers in self._indexed.values()]
        most = level(sizes, max(0, sum(sizes) - count))
        given_up = [
            (tenant, number)
            for tenant, numbers in self._indexed.items()
            for number in itertools.islice(numbers, max(0, len(numbers) - most))
        ]
        for tenant, number in given_up:
            self._not_indexed(tenant, number)
        return [number for _, number in given_up]

    def _not_indexed(self, tenant: str, number: int) -> None:
        numbers = self._indexed.get(tenant)
        if numbers is not None and number in numbers:
            del numbers[number]
            if not numbers:
                del self._indexed[tenant]


def _partition(scope: bytes, holder: str) -> bytes:
    return scope + holder.encode()
