"""A large scope: an inverted file of most rows, and a log of those that came after it was made.

Every row of the scope is in the file or in the log, so a search of both misses nothing that the file finds.
What was removed is still in either for a while; readers compare tags. Files are made in the background and
swapped in with their log by one assignment: a reader sees the old pair or the new one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semantic_cache.index.inverted_file import InvertedFile, lists_for, sample_size
from semantic_cache.index.scan import Scan
from semantic_cache.index.slab import Floats, Slab

MERGE_ROWS = 8192
_SMALL_SHARE = 16
_BATCH = 16_384
_QUERIES = 64
_NEAREST = 4
_LIKENESS = 0.8
"""Of calibration queries to the vector that they are made from."""


class RowLog:
    """Rows in the order in which they came: one writer, any number of readers."""

    def __init__(self, rows: NDArray[np.int32] | None = None) -> None:
        self._rows = np.zeros(64, np.int32)
        self._count = 0
        if rows is not None and len(rows):
            self._rows, self._count = rows, len(rows)

    def __len__(self) -> int:
        return self._count

    def append(self, row: int) -> None:
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1

    def rows(self, begin: int = 0) -> NDArray[np.int32]:
        """Return a copy of the rows from `begin` on."""
        rows = self._rows
        return rows[begin : self._count].copy()


@dataclass(frozen=True, slots=True)
class Build:
    """What a build starts from."""

    file: InvertedFile | None
    """The file to copy; None to train anew."""
    rows: NDArray[np.int32]
    """To put in."""
    removed: NDArray[np.int32]
    """To take out: all that were removed so far."""
    logged: int
    """How much of the log the new file stands for."""


class Partition:
    """The rows of one large scope. Whoever writes holds the index's lock; `build` runs in the background."""

    def __init__(self, slab: Slab, scan: Scan, tag: int) -> None:
        self._slab, self._scan, self.tag = slab, scan, tag
        self._state: tuple[InvertedFile | None, RowLog] = (None, RowLog())
        self._removed = array("i")
        self.rows = 0
        """Of the scope, kept by the index."""
        self.closed = False
        """The scope is small again: nobody asks any more."""
        self.building = False
        self.failed_at = 0
        """After a build that failed: how many rows the next one waits for."""

    @property
    def file(self) -> InvertedFile | None:
        """The present file, None until the first is made."""
        return self._state[0]

    @property
    def nbytes(self) -> int:
        """What the file takes."""
        return self._state[0].nbytes if self._state[0] is not None else 0

    def append(self, row: int) -> None:
        """Note a row that the scope got."""
        self._state[1].append(row)

    def remove(self, row: int) -> None:
        """Note a row that the scope lost."""
        self._removed.append(row)

    def candidates(self, query: Floats) -> NDArray[np.int32] | None:
        """Return rows among which the nearest to `query` [width] are; None while there is no file."""
        file, log = self._state
        if file is None:
            return None
        return np.concatenate([file.search(query), log.rows()])

    def wants_build(self) -> bool:
        """Whether the log, or what was removed, has become a burden to searches."""
        if self.building or self.rows < self.failed_at:
            return False
        file, log = self._state
        most = MERGE_ROWS if file is None else min(MERGE_ROWS, max(len(file) // _SMALL_SHARE, 64))
        return file is None or len(log) > most or len(self._removed) > most

    @property
    def build_nbytes(self) -> int:
        """What a new file will take beside the old one, about."""
        return self.rows * (self._slab.width // 4 + 8) + lists_for(self.rows) * self._slab.width * 4

    def give_up(self) -> None:
        """Build no file until there are more rows."""
        self.building = False
        self.failed_at = self.rows + self.rows // 4 + 1

    def begin_build(self, rows: NDArray[np.int32]) -> Build:
        """Under the lock: start a build; `rows` are all of the scope."""
        file, log = self._state
        removed = np.array(self._removed, np.int32)
        if file is None or self._needs_training(file):
            return Build(None, rows, removed, len(log))
        # A row may have come, gone and come again.
        return Build(file, np.unique(log.rows()), removed, len(log))

    def end_build(self, build: Build, file: InvertedFile) -> None:
        """Under the lock: put `file` in the place of the old one."""
        log = self._state[1]
        self._state = (file, RowLog(log.rows(build.logged)))
        self._removed = self._removed[len(build.removed) :]
        self.building = False

    def build(self, build: Build) -> InvertedFile:
        """Make the new file; readers and writers go on meanwhile. Raises RuntimeError or MemoryError."""
        if build.file is not None:
            # A row that was freed and taken again is in both: the old code goes, then the new one comes.
            gone = np.union1d(build.removed, build.rows)
            return build.file.changed(self._vectors(build.rows), gone)
        random = np.random.default_rng(len(build.rows))
        chosen = random.choice(build.rows, sample_size(len(build.rows)), replace=False)
        sample = self._slab.read_all(chosen, self.tag)[1]
        empty = InvertedFile.train(sample, len(build.rows))
        file = empty.changed(self._vectors(build.rows), np.empty(0, np.int32))
        self._calibrate(file, build.rows, random)
        return file

    def _vectors(self, rows: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.int32], Floats]]:
        for begin in range(0, len(rows), _BATCH):
            kept, vectors = self._slab.read_all(rows[begin : begin + _BATCH], self.tag)
            if len(kept):
                yield kept, vectors

    def _calibrate(self, file: InvertedFile, rows: NDArray[np.int32], random: np.random.Generator) -> None:
        # Between one stored vector and another, queries differ from them as questions do from questions.
        near = self._slab.read_all(random.choice(rows, _QUERIES), self.tag)[1]
        far = random.permutation(near)
        queries = (_LIKENESS * near + np.sqrt(1 - _LIKENESS**2) * far).astype(np.float32)
        wanted = [set(self._scan(self._slab, rows, self.tag, query, _NEAREST).tolist()) for query in queries]

        def recall() -> float:
            found = 0
            for query, nearest in zip(queries, wanted, strict=True):
                proposed = file.search(query)
                found += len(
                    nearest & set(self._scan(self._slab, proposed, self.tag, query, _NEAREST).tolist())
                )
            there_are = sum(len(nearest) for nearest in wanted)
            return found / there_are if there_are else 1.0

        file.calibrate(recall)

    def _needs_training(self, file: InvertedFile) -> bool:
        return self.rows > 2 * file.trained_on or 2 * self.rows < file.trained_on
