"""The vectors of all scopes, searched within one scope at a time.

A small scope is searched exactly, row by row; a large one through an inverted file that is made in the
background. Either way the nearest are compared exactly, in fp16's precision, before they are returned.
Readers take no lock: adding, removing and swapping never make a search wait, and a row that changes under a
search is left out of its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import ArrayLike, NDArray

from semantic_cache.index.background import Background
from semantic_cache.index.errors import BadVector, IndexFull
from semantic_cache.index.partition import Partition
from semantic_cache.index.scan import Scan, fastest_scan
from semantic_cache.index.scopes import ScopeRows
from semantic_cache.index.slab import FREE, Floats, Slab

_log = structlog.get_logger("semantic")

_ENTRY_BYTES = 120
"""Of an id and its row in a dictionary."""
_LIST_BYTES = 16
"""Of a row in its scope's list, at most."""
_LENGTH_ERROR = 1e-2
_ROOM_SHARE = 64
"""A full index gives up this part of its vectors at once, so that it asks once in a while."""
_SPARE = 8
"""Rows beyond k that are looked at, for those that change meanwhile."""

MakeRoom = Callable[[int], Sequence[int]]
"""Takes how many vectors too many there are, and returns the ids to give up; none if it will not."""


@dataclass(frozen=True, slots=True)
class IndexStats:
    """What the index holds."""

    vectors: int
    scopes: int
    files: int
    """Large scopes that are searched through an inverted file."""
    builds: int
    """Files being made, or waiting to be."""
    bytes: int
    budget_bytes: int | None


class Index:
    """Ids and unit vectors, by scope. Writers take turns; searches run at any time, in any thread."""

    def __init__(
        self,
        dim: int,
        *,
        budget_bytes: int | None = None,
        make_room: MakeRoom | None = None,
        large: int = 20_000,
        chunk_bits: int = 13,
        scan: Scan | None = None,
    ) -> None:
        """`large`: rows from which a scope gets an inverted file; `chunk_bits`: memory grows by 2 to this."""
        self.dim = dim
        self._budget, self._make_room, self._large = budget_bytes, make_room, large
        self._slab = Slab(dim, chunk_bits)
        self._scopes = ScopeRows()
        self._row_of: dict[int, int] = {}
        self._partitions: dict[int, Partition] = {}
        """Of large scopes, by the scope's number."""
        self._scan = scan or fastest_scan()
        self._lock = threading.RLock()
        self._background = Background()

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, id_: int) -> bool:
        return id_ in self._row_of

    def add(self, id_: int, scope: bytes, vector: ArrayLike) -> None:
        """Store the unit vector of an entry, in the place of an older one of the same id.

        Raises BadVector, or IndexFull if the budget is used up and `make_room` gave nothing up.
        """
        unit = self._checked(vector)
        with self._lock:
            self.remove(id_)
            self._have_room()
            tag = _tag(scope)
            row = self._slab.put(id_, tag, unit)
            number, place = self._scopes.add(scope, row)
            chunk, at = self._slab.locate(row)
            chunk.scopes[at], chunk.places[at] = number, place
            self._row_of[id_] = row
            if (partition := self._partitions.get(number)) is not None:
                partition.append(row)
            self._look_after(number, tag)

    def remove(self, id_: int) -> bool:
        """Forget an entry; returns whether it was there."""
        with self._lock:
            row = self._row_of.pop(id_, None)
            if row is None:
                return False
            chunk, at = self._slab.locate(row)
            number, place, tag = int(chunk.scopes[at]), int(chunk.places[at]), int(chunk.tags[at])
            # First the row: from here on no search returns it.
            self._slab.free(row)
            moved = self._scopes.remove(number, place)
            if moved != row:
                other, there = self._slab.locate(moved)
                other.places[there] = place
            if (partition := self._partitions.get(number)) is not None:
                partition.remove(row)
            self._look_after(number, tag)
            return True

    def search(self, scope: bytes, vector: ArrayLike, k: int = 4) -> list[tuple[int, float]]:
        """Return at most `k` entries of `scope`, ids and cosines with `vector`, the nearest first.

        Raises BadVector.
        """
        unit = self._checked(vector)
        number, tag = self._scopes.number(scope), _tag(scope)
        if number is None or k < 1:
            return []
        query = np.zeros(self._slab.width, np.float32)
        query[: self.dim] = unit
        partition = self._partitions.get(number)
        # A number may by now be another scope's.
        if partition is not None and partition.tag == tag:
            rows = partition.candidates(query)
            if rows is not None:
                found = self._nearest(rows, tag, query, k)
                if len(found) == k:
                    return found
                # Hardly anything that the file proposed is left: much was removed, and no new file is ready.
        return self._nearest(self._scopes.rows(number), tag, query, k)

    def scopes(self) -> list[bytes]:
        """Return the scopes that have entries."""
        with self._lock:
            return list(self._scopes)

    def ids(self, scope: bytes) -> list[int]:
        """Return the ids of a scope's entries."""
        with self._lock:
            number = self._scopes.number(scope)
            rows = [] if number is None else self._scopes.rows(number).tolist()
            return [int(chunk.ids[at]) for chunk, at in map(self._slab.locate, rows)]

    def stats(self) -> IndexStats:
        """Return what the index holds, and what memory it takes, about."""
        with self._lock:
            files = [partition for partition in self._partitions.values() if partition.file is not None]
            return IndexStats(
                vectors=len(self._row_of),
                scopes=len(self._scopes),
                files=len(files),
                builds=self._background.left,
                bytes=self._bytes(),
                budget_bytes=self._budget,
            )

    def settle(self) -> None:
        """Return once no inverted file is being made."""
        self._background.wait()

    def close(self) -> None:
        """End the background thread, after the file that it is making."""
        with self._lock:
            for partition in self._partitions.values():
                partition.closed = True
        self._background.close()

    def _checked(self, vector: ArrayLike) -> Floats:
        unit = np.asarray(vector, np.float32)
        if unit.shape != (self.dim,):
            raise BadVector(f"A vector has the shape {unit.shape}; this index takes ({self.dim},).")
        if not abs(float(unit @ unit) - 1) < _LENGTH_ERROR:
            raise BadVector("A vector is not of unit length.")
        return unit

    def _nearest(self, rows: NDArray[np.int32], tag: int, query: Floats, k: int) -> list[tuple[int, float]]:
        # A row that came again may be proposed twice.
        best = self._scan(self._slab, rows, tag, query, 2 * k + _SPARE)
        wide = query[: self.dim].astype(np.float64)
        found: dict[int, float] = {}
        for row in best.tolist():
            if (read := self._slab.read(row, tag)) is not None:
                id_, stored = read
                found[id_] = float(stored @ wide)
                if len(found) == k:
                    break
        return sorted(found.items(), key=lambda item: -item[1])

    def _bytes(self) -> int:
        files = sum(partition.nbytes for partition in self._partitions.values())
        return self._slab.nbytes + self._scopes.nbytes + _ENTRY_BYTES * len(self._row_of) + files

    def _have_room(self) -> None:
        if self._budget is None or not self._slab.full:
            return
        entries = self._slab.chunk_rows * (_ENTRY_BYTES + _LIST_BYTES)
        if self._bytes() + self._slab.chunk_nbytes + entries <= self._budget:
            return
        if self._make_room is not None:
            for id_ in self._make_room(max(1, len(self) // _ROOM_SHARE)):
                self.remove(id_)
        if self._slab.full:
            raise IndexFull(
                f"The index holds {len(self)} vectors in {self._bytes()} bytes; its budget is {self._budget}."
            )

    def _look_after(self, number: int, tag: int) -> None:
        """Under the lock, after a change: give the scope what its size asks for."""
        rows = self._scopes.count(number)
        partition = self._partitions.get(number)
        if partition is None:
            if rows < self._large:
                return
            partition = self._partitions[number] = Partition(self._slab, self._scan, tag)
        partition.rows = rows
        # Half, so that a scope at the border does not make and drop files in turn.
        if 2 * rows < self._large:
            partition.closed = True
            del self._partitions[number]
        elif partition.wants_build():
            if self._budget is not None and self._bytes() + partition.build_nbytes > self._budget:
                _log.warning(
                    "index_budget_leaves_no_room", rows=rows, consequence="a large scope is searched slowly"
                )
                partition.give_up()
                return
            partition.building = True
            self._background.submit(lambda: self._build(number, partition))

    def _build(self, number: int, partition: Partition) -> None:
        with self._lock:
            if partition.closed:
                return
            build = partition.begin_build(self._scopes.rows(number))
        try:
            file = partition.build(build)
        except (RuntimeError, MemoryError) as error:
            _log.warning("index_build_failed", reason=str(error), rows=len(build.rows))
            with self._lock:
                partition.give_up()
            return
        with self._lock:
            partition.end_build(build, file)
            # More may have come meanwhile than the log should hold.
            if not partition.closed:
                self._look_after(number, partition.tag)


def _tag(scope: bytes) -> int:
    # Python keys the hash of bytes anew in every process: nobody can aim at another scope's tag.
    return hash(scope) or FREE + 1
