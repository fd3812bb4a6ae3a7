"""Which rows each scope has: one array for the lists of all scopes, a few bytes for each list.

A list is a run of the array, of a capacity that is a power of two; a full one moves to a run twice as long,
and the old run waits for another list. Readers take no lock: what they read may be old, or by now another
scope's, which is why every row has a tag that they compare.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 4
_FIRST_SCOPES = 64
_FIRST_ROWS = 1024
_SCOPE_BYTES = 190
"""Of a digest of 32 bytes and its number, in a dictionary that is two thirds full."""


class ScopeRows:
    """The lists of rows, by scope."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._names: list[bytes] = []
        """By number."""
        self._unused = array("i")
        self._start = np.zeros(_FIRST_SCOPES, np.int64)
        self._count = np.zeros(_FIRST_SCOPES, np.int32)
        self._capacity = np.zeros(_FIRST_SCOPES, np.int32)
        self._rows = np.zeros(_FIRST_ROWS, np.int32)
        self._end = 0
        self._runs: dict[int, array[int]] = {}
        """Runs that wait, by capacity."""

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._numbers))

    @property
    def nbytes(self) -> int:
        """What the lists take, about."""
        arrays = (self._start, self._count, self._capacity, self._rows)
        return sum(one.nbytes for one in arrays) + _SCOPE_BYTES * len(self._numbers)

    def number(self, scope: bytes) -> int | None:
        """Return a scope's number, which another scope may get once this one has no rows."""
        return self._numbers.get(scope)

    def count(self, number: int) -> int:
        """Return how many rows a scope has."""
        return int(self._count[number])

    def rows(self, number: int) -> NDArray[np.int32]:
        """Return a copy of a scope's list."""
        rows, start = self._rows, int(self._start[number])
        return rows[start : start + int(self._count[number])].copy()

    def add(self, scope: bytes, row: int) -> tuple[int, int]:
        """Append a row to a scope's list; returns the scope's number and the row's place."""
        number = self._numbers.get(scope)
        if number is None:
            number = self._new(scope)
        place = int(self._count[number])
        if place == self._capacity[number]:
            self._move(number, max(_SMALLEST, 2 * place))
        self._rows[self._start[number] + place] = row
        self._count[number] = place + 1
        return number, place

    def remove(self, number: int, place: int) -> int:
        """Take the row at `place` out of a list; returns the row that is there now, the list's last."""
        start, last = int(self._start[number]), int(self._count[number]) - 1
        moved = int(self._rows[start + last])
        self._rows[start + place] = moved
        self._count[number] = last
        if last == 0:
            self._give_back(number)
            del self._numbers[self._names[number]]
            self._names[number] = b""
            self._unused.append(number)
        return moved

    def _new(self, scope: bytes) -> int:
        number = self._unused.pop() if self._unused else len(self._names)
        if number == len(self._names):
            self._names.append(scope)
        if number == len(self._start):
            self._start, self._count = _doubled(self._start), _doubled(self._count)
            self._capacity = _doubled(self._capacity)
        self._names[number] = scope
        # Last: now readers find it.
        self._numbers[scope] = number
        return number

    def _move(self, number: int, capacity: int) -> None:
        waiting = self._runs.get(capacity)
        if waiting:
            start = waiting.pop()
        else:
            start, self._end = self._end, self._end + capacity
            while self._end > len(self._rows):
                self._rows = _doubled(self._rows)
        old, count = int(self._start[number]), int(self._count[number])
        self._rows[start : start + count] = self._rows[old : old + count]
        self._give_back(number)
        self._start[number], self._capacity[number] = start, capacity

    def _give_back(self, number: int) -> None:
        capacity = int(self._capacity[number])
        if capacity:
            self._runs.setdefault(capacity, array("q")).append(int(self._start[number]))
            self._capacity[number] = 0


_Integers = TypeVar("_Integers", NDArray[np.int32], NDArray[np.int64])


def _doubled(old: _Integers) -> _Integers:
    new = np.zeros(2 * len(old), old.dtype)
    new[: len(old)] = old
    return new
