"""All vectors of all scopes, in fp16, in chunks that never move.

A row is written by one writer at a time and read by anybody at any time without a lock: its version is even
while it holds a vector and odd while it is free or being written, and a reader who saw it change reads
nothing.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LANES = 16
FREE = 0
"""The tag of a row that holds nothing."""


class Chunk:
    """Some rows. vectors: fp16 [rows, width]; ids, tags: int64; versions: uint32; scopes, places: int32."""

    __slots__ = ("ids", "places", "scopes", "tags", "vectors", "versions")

    def __init__(self, rows: int, width: int) -> None:
        self.vectors = np.zeros((rows, width), np.float16)
        self.ids = np.zeros(rows, np.int64)
        self.tags = np.full(rows, FREE, np.int64)
        self.versions = np.ones(rows, np.uint32)
        self.scopes = np.zeros(rows, np.int32)
        """Number of the row's scope, and the row's place in that scope's list: the writer's own notes."""
        self.places = np.zeros(rows, np.int32)


class Slab:
    """Rows of fp16 vectors, each with an id and a tag that says whose it is."""

    def __init__(self, dim: int, chunk_bits: int = 13) -> None:
        self.dim, self.chunk_bits = dim, chunk_bits
        self.width = -(-dim // _LANES) * _LANES
        """Vectors are padded with zeros to whole registers."""
        self.chunks: list[Chunk] = []
        self.addresses: tuple[NDArray[np.uint64], NDArray[np.uint64]] = (
            np.empty(0, np.uint64),
            np.empty(0, np.uint64),
        )
        """Of the chunks' vectors and of their tags, for the kernel."""
        self._mask = (1 << chunk_bits) - 1
        self._free = array("i")

    @property
    def full(self) -> bool:
        """Whether the next vector needs another chunk."""
        return not self._free

    @property
    def chunk_rows(self) -> int:
        """How many rows a chunk has."""
        return self._mask + 1

    @property
    def chunk_nbytes(self) -> int:
        """What a chunk takes."""
        return self.chunk_rows * (self.width * 2 + 28)

    @property
    def nbytes(self) -> int:
        """What all chunks take."""
        return len(self.chunks) * self.chunk_nbytes

    def put(self, id_: int, tag: int, vector: Floats) -> int:
        """Store a vector and return its row."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        chunk, at = self.locate(row)
        chunk.vectors[at, : self.dim] = vector
        chunk.ids[at], chunk.tags[at] = id_, tag
        chunk.versions[at] += 1
        return row

    def free(self, row: int) -> None:
        """Give a row back."""
        chunk, at = self.locate(row)
        chunk.versions[at] += 1
        chunk.tags[at] = FREE
        self._free.append(row)

    def read(self, row: int, tag: int) -> tuple[int, Floats] | None:
        """Return id and vector of a row, fp32 [dim]; None if it is not, or not any longer, of `tag`."""
        chunk, at = self.locate(row)
        version = chunk.versions[at]
        if version & 1:
            return None
        id_, found, vector = (
            int(chunk.ids[at]),
            chunk.tags[at],
            chunk.vectors[at, : self.dim].astype(np.float32),
        )
        return (id_, vector) if found == tag and chunk.versions[at] == version else None

    def read_all(self, rows: NDArray[np.int32], tag: int) -> tuple[NDArray[np.int32], Floats]:
        """Return those of `rows` that are of `tag`, sorted, and their vectors, fp32 [rows, width]."""
        rows = np.sort(rows)
        kept_rows, kept_vectors = [np.empty(0, np.int32)], [np.empty((0, self.width), np.float32)]
        bounds = np.searchsorted(rows >> self.chunk_bits, np.arange(len(self.chunks) + 1))
        for chunk, begin, end in zip(self.chunks, bounds[:-1], bounds[1:], strict=False):
            if begin == end:
                continue
            at = rows[begin:end] & self._mask
            versions = chunk.versions[at]
            vectors = chunk.vectors[at].astype(np.float32)
            valid = (chunk.tags[at] == tag) & (versions & 1 == 0) & (chunk.versions[at] == versions)
            kept_rows.append(rows[begin:end][valid])
            kept_vectors.append(vectors[valid])
        return np.concatenate(kept_rows), np.concatenate(kept_vectors)

    def locate(self, row: int) -> tuple[Chunk, int]:
        """Return a row's chunk and its place there."""
        return self.chunks[row >> self.chunk_bits], row & self._mask

    def _grow(self) -> None:
        rows = self.chunk_rows
        first = len(self.chunks) * rows
        self.chunks.append(Chunk(rows, self.width))
        self.addresses = (
            np.array([chunk.vectors.ctypes.data for chunk in self.chunks], np.uint64),
            np.array([chunk.tags.ctypes.data for chunk in self.chunks], np.uint64),
        )
        self._free.extend(range(first + rows - 1, first - 1, -1))
