"""Reads the header of a GGUF file: its metadata, and where each tensor lies.

The `gguf` package's reader makes numpy views of every single string, which takes two seconds for a
vocabulary of 49,152; the header is a flat list of length-prefixed values and reads in a tenth of that.
Every length is checked against the file before it is believed.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from backend_engine.errors import CheckpointError, UnsupportedModel

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MAX_DIMENSIONS = 4
_MAX_ARRAY_DEPTH = 4
_SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies; `shape` is in torch's order, and a row is its innermost dimension."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    row_bytes: int

    @property
    def num_rows(self) -> int:
        return math.prod(self.shape[:-1])


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata by key (arrays as lists), and tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


def read_header(path: Path, data: mmap.mmap) -> GgufHeader:
    """Parse the header in `data`, the mapped file at `path` (for messages).

    Raises CheckpointError for anything malformed, a tensor beyond the end of the file included.
    """
    cursor = _Cursor(path, data)
    if cursor.take(4) != _MAGIC:
        raise CheckpointError(f"{path}: not a GGUF file (it does not begin with 'GGUF')")
    version = cursor.scalar("I")
    if version not in _VERSIONS:
        raise CheckpointError(
            f"{path}: GGUF version {version} is not supported (only 2 and 3, little endian)"
        )
    num_tensors, num_values = cursor.scalar("Q"), cursor.scalar("Q")
    metadata: dict[str, Any] = {}
    for _ in range(num_values):
        key = cursor.string("a metadata key")
        if key in metadata:
            raise CheckpointError(f"{path}: metadata key {key!r} occurs twice")
        metadata[key] = cursor.value(key)
    raw_tensors = [_read_tensor_info(cursor) for _ in range(num_tensors)]
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0:
        raise CheckpointError(f"{path}: general.alignment is {alignment!r}")
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for raw in raw_tensors:
        tensor = TensorInfo(raw.name, raw.type, raw.shape, start + raw.offset, raw.row_bytes)
        end = tensor.offset + tensor.num_rows * tensor.row_bytes
        if end > len(data):
            raise CheckpointError(
                f"{path}: truncated: tensor {raw.name} ends at byte {end}, the file has {len(data)}"
            )
        if raw.name in tensors:
            raise CheckpointError(f"{path}: tensor {raw.name} occurs twice")
        tensors[raw.name] = tensor
    return GgufHeader(metadata, tensors)


def _read_tensor_info(cursor: _Cursor) -> TensorInfo:
    name = cursor.string("a tensor name")
    num_dimensions = cursor.scalar("I")
    if not 1 <= num_dimensions <= _MAX_DIMENSIONS:
        raise CheckpointError(f"{cursor.path}: tensor {name} has {num_dimensions} dimensions")
    shape = tuple(cursor.scalar("Q") for _ in range(num_dimensions))[::-1]
    if not all(shape):
        raise CheckpointError(f"{cursor.path}: tensor {name} is empty: {shape}")
    code = cursor.scalar("I")
    try:
        kind = GGMLQuantizationType(code)
    except ValueError:
        raise UnsupportedModel(f"{cursor.path}: tensor {name} has the unknown type {code}") from None
    block_values, block_bytes = GGML_QUANT_SIZES[kind]
    if shape[-1] % block_values:
        raise CheckpointError(
            f"{cursor.path}: tensor {name}: rows of {shape[-1]} are no whole {kind.name} blocks"
        )
    return TensorInfo(name, kind, shape, cursor.scalar("Q"), shape[-1] // block_values * block_bytes)


class _Cursor:
    """A bounds-checked position in the file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.at = 0
        self._data = data
        self._size = len(data)

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > self._size:
            raise CheckpointError(
                f"{self.path}: truncated: the header needs byte {end}, the file has {self._size}"
            )
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def scalar(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self, what: str) -> str:
        raw = self.take(int.from_bytes(self.take(8), "little"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.path}: {what} is not UTF-8: {raw[:40]!r}") from None

    def value(self, key: str, kind: GGUFValueType | None = None, depth: int = 0) -> Any:
        if kind is None:
            kind = self._kind(key)
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind is GGUFValueType.STRING:
            return self.string(f"the value of {key}")
        if depth == _MAX_ARRAY_DEPTH:
            raise CheckpointError(f"{self.path}: arrays nested too deeply in {key}")
        item, count = self._kind(key), self.scalar("Q")
        if item in _SCALARS:
            code = _SCALARS[item]
            # One read for the whole array; `take` refuses a count that the file cannot hold.
            return list(struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize("<" + code))))
        return [self.value(key, item, depth + 1) for _ in range(count)]

    def _kind(self, key: str) -> GGUFValueType:
        code = self.scalar("I")
        try:
            return GGUFValueType(code)
        except ValueError:
            raise CheckpointError(f"{self.path}: {key} has the unknown value type {code}") from None
